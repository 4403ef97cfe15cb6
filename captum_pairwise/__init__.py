"""captum_pairwise: Shapley credit for the parts of two images, and for pairs of parts, in the similarity of the images.

>>> import torch, captum_pairwise as cp
>>> encoder = torch.nn.Conv2d(3, 8, 3, stride=2)
>>> model = cp.SimilarityWrapper(encoder)
>>> query, retrieved = torch.rand(1, 3, 9, 9), torch.rand(1, 3, 9, 9)
>>> interactions = cp.LayerFactorisedShapleyTaylor(model, encoder).interactions((query, retrieved))
>>> interactions.query_map.shape, interactions.between.shape
(torch.Size([1, 16]), torch.Size([1, 16, 16]))
"""

import lazy_loader

# the public names are in `__init__.pyi`; each is imported at its first use, so that a command starts without PyTorch
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.2.0"
