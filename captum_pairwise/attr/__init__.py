"""Attribution classes in Captum's conventions, a file a method: they validate, build the games, estimate and return."""
