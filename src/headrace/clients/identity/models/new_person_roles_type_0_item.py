from typing import Literal

NewPersonRolesType0Item = Literal[
    "admin", "developer", "device", "operator", "service", "viewer"
]

NEW_PERSON_ROLES_TYPE_0_ITEM_VALUES: set[NewPersonRolesType0Item] = {
    "admin",
    "developer",
    "device",
    "operator",
    "service",
    "viewer",
}


def check_new_person_roles_type_0_item(value: str) -> NewPersonRolesType0Item:
    if value in NEW_PERSON_ROLES_TYPE_0_ITEM_VALUES:
        return value
    raise TypeError(
        f"Unexpected value {value!r}. Expected one of {NEW_PERSON_ROLES_TYPE_0_ITEM_VALUES!r}"
    )
