"""Contains all the data models used in inputs/outputs"""

from .environment import Environment
from .environment_requires import EnvironmentRequires
from .failure import Failure
from .limits import Limits
from .model import Model
from .model_anchoring import ModelAnchoring
from .model_environment import ModelEnvironment
from .model_metadata import ModelMetadata
from .model_metrics import ModelMetrics
from .model_reproducible import ModelReproducible
from .model_state import ModelState
from .output_file import OutputFile
from .parity import Parity
from .recipe import Recipe
from .recipe_parameters import RecipeParameters
from .recipe_seeds import RecipeSeeds
from .snapshot import Snapshot
from .stored import Stored
from .translation import Translation
from .translation_dropout import TranslationDropout
from .translation_versions import TranslationVersions
from .wish import Wish

__all__ = (
    "Environment",
    "EnvironmentRequires",
    "Failure",
    "Limits",
    "Model",
    "ModelAnchoring",
    "ModelEnvironment",
    "ModelMetadata",
    "ModelMetrics",
    "ModelReproducible",
    "ModelState",
    "OutputFile",
    "Parity",
    "Recipe",
    "RecipeParameters",
    "RecipeSeeds",
    "Snapshot",
    "Stored",
    "Translation",
    "TranslationDropout",
    "TranslationVersions",
    "Wish",
)
