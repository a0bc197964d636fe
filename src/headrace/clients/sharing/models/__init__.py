"""Contains all the data models used in inputs/outputs"""

from .audit_entry import AuditEntry
from .create_uploads_post_tus_resumable import CreateUploadsPostTusResumable
from .dataset import Dataset
from .dataset_statistics_state import DatasetStatisticsState
from .dataset_statistics_type_0 import DatasetStatisticsType0
from .datasets import Datasets
from .delete_uploads_id_delete_tus_resumable import DeleteUploadsIdDeleteTusResumable
from .deleted import Deleted
from .environment import Environment
from .environment_requires import EnvironmentRequires
from .failure import Failure
from .from_stream import FromStream
from .grant import Grant
from .grant_right import GrantRight
from .grants import Grants
from .head_uploads_id_head_tus_resumable import HeadUploadsIdHeadTusResumable
from .limits import Limits
from .lineage import Lineage
from .lineage_node import LineageNode
from .lineage_node_kind import LineageNodeKind
from .model import Model
from .model_environment import ModelEnvironment
from .model_metadata import ModelMetadata
from .model_metrics import ModelMetrics
from .model_reproducible import ModelReproducible
from .model_state import ModelState
from .models import Models
from .new_dataset import NewDataset
from .new_dataset_media_type_0 import NewDatasetMediaType0
from .new_grant import NewGrant
from .new_grant_right import NewGrantRight
from .new_model import NewModel
from .new_recipe import NewRecipe
from .new_recipe_parameters import NewRecipeParameters
from .new_recipe_seeds import NewRecipeSeeds
from .output_file import OutputFile
from .patch_uploads_id_patch_tus_resumable import PatchUploadsIdPatchTusResumable
from .recipe import Recipe
from .recipe_parameters import RecipeParameters
from .recipe_seeds import RecipeSeeds
from .register_dataset_json_body import RegisterDatasetJsonBody
from .register_model_json_body import RegisterModelJsonBody
from .stored import Stored
from .stream_range import StreamRange

__all__ = (
    "AuditEntry",
    "CreateUploadsPostTusResumable",
    "Dataset",
    "DatasetStatisticsState",
    "DatasetStatisticsType0",
    "Datasets",
    "DeleteUploadsIdDeleteTusResumable",
    "Deleted",
    "Environment",
    "EnvironmentRequires",
    "Failure",
    "FromStream",
    "Grant",
    "GrantRight",
    "Grants",
    "HeadUploadsIdHeadTusResumable",
    "Limits",
    "Lineage",
    "LineageNode",
    "LineageNodeKind",
    "Model",
    "ModelEnvironment",
    "ModelMetadata",
    "ModelMetrics",
    "ModelReproducible",
    "ModelState",
    "Models",
    "NewDataset",
    "NewDatasetMediaType0",
    "NewGrant",
    "NewGrantRight",
    "NewModel",
    "NewRecipe",
    "NewRecipeParameters",
    "NewRecipeSeeds",
    "OutputFile",
    "PatchUploadsIdPatchTusResumable",
    "Recipe",
    "RecipeParameters",
    "RecipeSeeds",
    "RegisterDatasetJsonBody",
    "RegisterModelJsonBody",
    "Stored",
    "StreamRange",
)
