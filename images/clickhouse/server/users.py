"""Users of users.xml and users.d, and the users file that the engine gets.

The library runs everything as its user ``default``. So passwords are checked here, and a user with ``<grants>`` becomes
a role of that user: a session of ``reader`` does ``SET ROLE``, and the engine itself refuses what is not granted.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from server.errors import AUTHENTICATION_FAILED, ServerError

log = logging.getLogger("users")

_ADMIN_ROLE: Final = "cdc_everything"
_ROLE_PREFIX: Final = "cdc_user_"
_PASSWORDS: Final = ("no_password", "password", "password_sha256_hex", "password_double_sha1_hex")
_KNOWN: Final = {*_PASSWORDS, "networks", "profile", "quota", "grants", "default_database", "access_management",
                 "named_collection_control", "show_named_collections", "show_named_collections_secrets"}  # fmt: skip


class ConfigurationError(Exception):
    """A configuration file is wrong; the message names the place and the cure."""


@dataclass(frozen=True, kw_only=True)
class User:
    """A user; ``role`` is empty for a user without ``<grants>``, who may do everything his profile allows."""

    name: str
    method: str
    secret: str
    settings: Mapping[str, str] = field(default_factory=dict)
    """Of his profile, beyond those of the profile ``default``, which the engine applies to everybody."""
    role: str = ""
    grants: tuple[str, ...] = ()
    default_database: str = ""

    def accepts(self, password: str) -> bool:
        """Whether ``password`` is this user's."""
        given = password.encode("utf-8", "surrogateescape")
        if self.method == "no_password":
            return True
        if self.method == "password_sha256_hex":
            return hmac.compare_digest(hashlib.sha256(given).hexdigest(), self.secret.lower())
        if self.method == "password_double_sha1_hex":
            twice = hashlib.sha1(hashlib.sha1(given).digest())  # noqa: S324  (MySQL's form, chosen by the file)
            return hmac.compare_digest(twice.hexdigest(), self.secret.lower())
        return hmac.compare_digest(given, self.secret.encode("utf-8", "surrogateescape"))


def authenticate(users: Mapping[str, User], name: str, password: str) -> User:
    """The user, or ServerError 516, which does not tell whether the name or the password is wrong."""
    user = users.get(name or "default")
    if user is None or not user.accepts(password):
        raise ServerError(
            AUTHENTICATION_FAILED,
            f"{name or 'default'}: Authentication failed: password is incorrect, or there is no user with such name.",
        )
    return user


def read_users(root: ET.Element) -> dict[str, User]:
    """The users of a merged users file."""
    section = root.find("users")
    users = {element.tag: _user(element, root) for element in (section if section is not None else [])}
    if not users:
        log.warning("no user is configured: nobody can log in; add one to users.d")
    return users


def _user(element: ET.Element, root: ET.Element) -> User:
    name = element.tag
    methods = [method for method in _PASSWORDS if element.find(method) is not None]
    unknown = sorted({child.tag for child in element} - _KNOWN)
    if unknown:
        log.warning("user %s: ignored in users.d: %s", name, ", ".join(unknown))
    if len(methods) != 1:
        raise ConfigurationError(f"user {name} in users.d needs one of {', '.join(_PASSWORDS)}; it has {methods}")
    secret = (element.findtext(methods[0]) or "").strip()
    method = "no_password" if methods == ["password"] and not secret else methods[0]
    networks = [child.text for child in element.iterfind("networks/*")]
    if networks and set(networks) != {"::/0"}:
        log.warning("user %s: networks %s are ignored by this server", name, networks)
    grants = tuple((query.text or "").strip() for query in element.iterfind("grants/query"))
    return User(
        name=name,
        method=method,
        secret=secret,
        settings=profile_settings(root, (element.findtext("profile") or "default").strip()),
        role=_ROLE_PREFIX + name if grants else "",
        grants=grants,
        default_database=(element.findtext("default_database") or "").strip(),
    )


def profile_settings(root: ET.Element, name: str) -> dict[str, str]:
    """The settings of a profile and of the profiles that it names; empty for ``default``.

    They are set one by one at the start of a session: the library accepts SET profile, and then ignores readonly.
    """
    if name == "default":
        return {}
    profile = root.find(f"profiles/{name}")
    if profile is None:
        known = sorted(element.tag for element in root.iterfind("profiles/*"))
        raise ConfigurationError(f"users.d names the profile {name}, which does not exist; there are {known}")
    settings: dict[str, str] = {}
    for child in profile:
        text = (child.text or "").strip()
        if child.tag == "profile":
            settings.update(profile_settings(root, text))
        elif child.tag == "constraints":
            log.warning("profile %s: constraints are ignored by this server", name)
        else:
            settings[child.tag] = text
    return settings


def engine_users(root: ET.Element, users: Mapping[str, User]) -> ET.Element:
    """The users file for the engine: the profiles as configured, a role for each user with grants, one user."""
    result = ET.Element("clickhouse")
    profiles = root.find("profiles")
    result.append(profiles if profiles is not None else ET.fromstring("<profiles><default/></profiles>"))  # noqa: S314
    names = {profile.tag for profile in result[0]}
    if "default" not in names:
        ET.SubElement(result[0], "default")
    ET.SubElement(ET.SubElement(result, "quotas"), "default")
    roles = ET.SubElement(result, "roles")
    _role(roles, _ADMIN_ROLE, ("GRANT ALL ON *.* WITH GRANT OPTION",))
    granted = [_ADMIN_ROLE]
    for user in users.values():
        if user.role:
            _role(roles, user.role, user.grants)
            granted.append(user.role)
    default = ET.SubElement(ET.SubElement(result, "users"), "default")
    ET.SubElement(default, "password")
    ET.SubElement(ET.SubElement(default, "networks"), "ip").text = "::/0"
    ET.SubElement(default, "profile").text = "default"
    ET.SubElement(default, "quota").text = "default"
    grants = ET.SubElement(default, "grants")
    for role in granted:
        ET.SubElement(grants, "query").text = f"GRANT `{role}`"
    return result


def _role(roles: ET.Element, name: str, grants: tuple[str, ...]) -> None:
    queries = ET.SubElement(ET.SubElement(roles, name), "grants")
    for grant in grants:
        ET.SubElement(queries, "query").text = grant
