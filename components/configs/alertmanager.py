"""Alertmanager's file: whom it tells, as the settings say."""

from __future__ import annotations

import json

from components.configs.render import render
from components.settings import Settings


def alertmanager_config(settings: Settings) -> str:
    """``alertmanager.yml`` with a webhook, a mail address, both or none; holds their secrets in clear."""
    channels = _webhook(settings) + _email(settings)
    return render(
        "alertmanager.yml",
        receiver="operator" if channels else "none",
        operator=render("alertmanager-operator.yml", channels=channels.rstrip("\n")) if channels else "",
    )


def _webhook(settings: Settings) -> str:
    url = settings.alert_webhook_url.get_secret_value()
    return render("alertmanager-webhook.yml", url=_quoted(url)) if url else ""


def _email(settings: Settings) -> str:
    if not settings.alert_email_to:
        return ""
    return render(
        "alertmanager-email.yml",
        to=_quoted(settings.alert_email_to),
        sender=_quoted(settings.alert_email_from),
        smarthost=_quoted(settings.alert_smtp_host),
        user=_quoted(settings.alert_smtp_user),
        password=_quoted(settings.alert_smtp_password.get_secret_value()),
    )


def _quoted(text: str) -> str:
    """A text as YAML (JSON is YAML), whatever signs it holds."""
    return json.dumps(text)
