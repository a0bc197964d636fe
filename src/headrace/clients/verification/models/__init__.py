"""Contains all the data models used in inputs/outputs"""

from .address import Address
from .check import Check
from .check_level import CheckLevel
from .check_state import CheckState
from .contracts import Contracts
from .dataset import Dataset
from .dataset_anchoring import DatasetAnchoring
from .dataset_statistics_state import DatasetStatisticsState
from .dataset_statistics_type_0 import DatasetStatisticsType0
from .digest import Digest
from .environment import Environment
from .environment_requires import EnvironmentRequires
from .failure import Failure
from .get_bom_response_200 import GetBomResponse200
from .inclusion import Inclusion
from .input_ import Input
from .input_role import InputRole
from .keys import Keys
from .ledger_status import LedgerStatus
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
from .place import Place
from .recipe import Recipe
from .recipe_parameters import RecipeParameters
from .recipe_seeds import RecipeSeeds
from .report import Report
from .report_level import ReportLevel
from .revoked import Revoked
from .said import Said
from .said_claim import SaidClaim
from .said_kind import SaidKind
from .said_opened_type_0 import SaidOpenedType0
from .said_result_opened_type_0 import SaidResultOpenedType0
from .said_result_type_0 import SaidResultType0
from .snapshot import Snapshot
from .stored import Stored
from .stream_range import StreamRange
from .summary import Summary
from .summary_details import SummaryDetails
from .summary_metrics import SummaryMetrics
from .told import Told
from .translation import Translation
from .translation_dropout import TranslationDropout
from .translation_versions import TranslationVersions
from .verify_asset_level import VerifyAssetLevel

__all__ = (
    "Address",
    "Check",
    "CheckLevel",
    "CheckState",
    "Contracts",
    "Dataset",
    "DatasetAnchoring",
    "DatasetStatisticsState",
    "DatasetStatisticsType0",
    "Digest",
    "Environment",
    "EnvironmentRequires",
    "Failure",
    "GetBomResponse200",
    "Inclusion",
    "Input",
    "InputRole",
    "Keys",
    "LedgerStatus",
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
    "Place",
    "Recipe",
    "RecipeParameters",
    "RecipeSeeds",
    "Report",
    "ReportLevel",
    "Revoked",
    "Said",
    "SaidClaim",
    "SaidKind",
    "SaidOpenedType0",
    "SaidResultOpenedType0",
    "SaidResultType0",
    "Snapshot",
    "Stored",
    "StreamRange",
    "Summary",
    "SummaryDetails",
    "SummaryMetrics",
    "Told",
    "Translation",
    "TranslationDropout",
    "TranslationVersions",
    "VerifyAssetLevel",
)
