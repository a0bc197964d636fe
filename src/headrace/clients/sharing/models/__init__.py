"""Contains all the data models used in inputs/outputs"""

from .allowed import Allowed
from .append_upload_tus_resumable import AppendUploadTusResumable
from .audit_entry import AuditEntry
from .check_right_right import CheckRightRight
from .create_upload_tus_resumable import CreateUploadTusResumable
from .create_upload_upload_defer_length import CreateUploadUploadDeferLength
from .dataset import Dataset
from .dataset_anchoring import DatasetAnchoring
from .dataset_statistics_state import DatasetStatisticsState
from .dataset_statistics_type_0 import DatasetStatisticsType0
from .datasets import Datasets
from .delete_upload_tus_resumable import DeleteUploadTusResumable
from .deleted import Deleted
from .environment import Environment
from .environment_requires import EnvironmentRequires
from .evaluated import Evaluated
from .evaluated_metrics import EvaluatedMetrics
from .failure import Failure
from .files import Files
from .from_stream import FromStream
from .get_file_right import GetFileRight
from .get_file_role import GetFileRole
from .get_upload_tus_resumable import GetUploadTusResumable
from .grant import Grant
from .grant_right import GrantRight
from .grants import Grants
from .job import Job
from .job_kind import JobKind
from .job_metrics import JobMetrics
from .job_state import JobState
from .judged import Judged
from .judged_verdict import JudgedVerdict
from .limits import Limits
from .lineage import Lineage
from .lineage_node import LineageNode
from .lineage_node_kind import LineageNodeKind
from .list_files_right import ListFilesRight
from .list_files_role import ListFilesRole
from .model import Model
from .model_anchoring import ModelAnchoring
from .model_environment import ModelEnvironment
from .model_metadata import ModelMetadata
from .model_metrics import ModelMetrics
from .model_reproducible import ModelReproducible
from .model_state import ModelState
from .models import Models
from .new_dataset import NewDataset
from .new_dataset_form import NewDatasetForm
from .new_dataset_media_type_0 import NewDatasetMediaType0
from .new_dataset_of_upload import NewDatasetOfUpload
from .new_grant import NewGrant
from .new_grant_right import NewGrantRight
from .new_model import NewModel
from .new_model_form import NewModelForm
from .new_model_of_upload import NewModelOfUpload
from .new_recipe import NewRecipe
from .new_recipe_parameters import NewRecipeParameters
from .new_recipe_seeds import NewRecipeSeeds
from .output_file import OutputFile
from .parity import Parity
from .recipe import Recipe
from .recipe_parameters import RecipeParameters
from .recipe_seeds import RecipeSeeds
from .snapshot import Snapshot
from .stored import Stored
from .stream_range import StreamRange
from .trained import Trained
from .trained_found import TrainedFound
from .translated import Translated
from .translated_found import TranslatedFound
from .translation import Translation
from .translation_dropout import TranslationDropout
from .translation_versions import TranslationVersions

__all__ = (
    "Allowed",
    "AppendUploadTusResumable",
    "AuditEntry",
    "CheckRightRight",
    "CreateUploadTusResumable",
    "CreateUploadUploadDeferLength",
    "Dataset",
    "DatasetAnchoring",
    "DatasetStatisticsState",
    "DatasetStatisticsType0",
    "Datasets",
    "DeleteUploadTusResumable",
    "Deleted",
    "Environment",
    "EnvironmentRequires",
    "Evaluated",
    "EvaluatedMetrics",
    "Failure",
    "Files",
    "FromStream",
    "GetFileRight",
    "GetFileRole",
    "GetUploadTusResumable",
    "Grant",
    "GrantRight",
    "Grants",
    "Job",
    "JobKind",
    "JobMetrics",
    "JobState",
    "Judged",
    "JudgedVerdict",
    "Limits",
    "Lineage",
    "LineageNode",
    "LineageNodeKind",
    "ListFilesRight",
    "ListFilesRole",
    "Model",
    "ModelAnchoring",
    "ModelEnvironment",
    "ModelMetadata",
    "ModelMetrics",
    "ModelReproducible",
    "ModelState",
    "Models",
    "NewDataset",
    "NewDatasetForm",
    "NewDatasetMediaType0",
    "NewDatasetOfUpload",
    "NewGrant",
    "NewGrantRight",
    "NewModel",
    "NewModelForm",
    "NewModelOfUpload",
    "NewRecipe",
    "NewRecipeParameters",
    "NewRecipeSeeds",
    "OutputFile",
    "Parity",
    "Recipe",
    "RecipeParameters",
    "RecipeSeeds",
    "Snapshot",
    "Stored",
    "StreamRange",
    "Trained",
    "TrainedFound",
    "Translated",
    "TranslatedFound",
    "Translation",
    "TranslationDropout",
    "TranslationVersions",
)
