"""The form of a prompt: the robot's own, so that what is learnt is what will be asked."""

from __future__ import annotations

from emollama_ros.language.templates import (
    PLACEHOLDER,
    TEMPLATES,
    TRANSCRIPT_LIMIT,
    Template,
    as_data,
    template_named,
)

__all__ = ["PLACEHOLDER", "TEMPLATES", "TRANSCRIPT_LIMIT", "Template", "as_data", "template_named"]
