"""What all sections of the configuration have in common."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Section(BaseModel):
    """A part of the configuration: frozen; unknown keys, infinity and NaN are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_null(cls, value: Any, info: ValidationInfo) -> Any:
        """A key that may be empty takes YAML's `null`, not the text `none`, which would be the name of a file."""
        if isinstance(value, str) and value.strip().lower() == "none":
            kinds = get_args(cls.model_fields[info.field_name or ""].annotation)
            if type(None) in kinds:
                raise ValueError(f"found the text {value!r}, an empty value is written null; write null")
        return value
