"""Contains all the data models used in inputs/outputs"""

from .added import Added
from .added_company import AddedCompany
from .added_kind import AddedKind
from .certs_response_certs import CertsResponseCerts
from .company import Company
from .deleted import Deleted
from .discovery_response_discovery import DiscoveryResponseDiscovery
from .failure import Failure
from .new_company import NewCompany
from .new_password import NewPassword
from .new_person import NewPerson
from .new_person_kind import NewPersonKind
from .new_person_roles_type_0_item import NewPersonRolesType0Item
from .no_grant import NoGrant
from .person import Person
from .person_kind import PersonKind
from .rotated import Rotated
from .token_body_type_0 import TokenBodyType0
from .token_body_type_1 import TokenBodyType1
from .token_body_type_2 import TokenBodyType2
from .tokens import Tokens
from .url import Url
from .who import Who
from .who_kind import WhoKind

__all__ = (
    "Added",
    "AddedCompany",
    "AddedKind",
    "CertsResponseCerts",
    "Company",
    "Deleted",
    "DiscoveryResponseDiscovery",
    "Failure",
    "NewCompany",
    "NewPassword",
    "NewPerson",
    "NewPersonKind",
    "NewPersonRolesType0Item",
    "NoGrant",
    "Person",
    "PersonKind",
    "Rotated",
    "TokenBodyType0",
    "TokenBodyType1",
    "TokenBodyType2",
    "Tokens",
    "Url",
    "Who",
    "WhoKind",
)
