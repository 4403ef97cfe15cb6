"""The console command `captum-pairwise`, and its web page."""
