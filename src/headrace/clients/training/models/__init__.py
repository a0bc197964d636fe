"""Contains all the data models used in inputs/outputs"""

from .body_validate_recipe import BodyValidateRecipe
from .environment import Environment
from .environment_requires import EnvironmentRequires
from .event import Event
from .events import Events
from .failure import Failure
from .job import Job
from .job_kind import JobKind
from .job_metrics import JobMetrics
from .job_state import JobState
from .jobs import Jobs
from .limits import Limits
from .list_jobs_state_type_0 import ListJobsStateType0
from .new_evaluation import NewEvaluation
from .new_job import NewJob
from .recipe import Recipe
from .recipe_parameters import RecipeParameters
from .recipe_seeds import RecipeSeeds
from .stored import Stored
from .valid import Valid

__all__ = (
    "BodyValidateRecipe",
    "Environment",
    "EnvironmentRequires",
    "Event",
    "Events",
    "Failure",
    "Job",
    "JobKind",
    "JobMetrics",
    "JobState",
    "Jobs",
    "Limits",
    "ListJobsStateType0",
    "NewEvaluation",
    "NewJob",
    "Recipe",
    "RecipeParameters",
    "RecipeSeeds",
    "Stored",
    "Valid",
)
