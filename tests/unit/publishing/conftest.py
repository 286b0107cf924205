from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher.domain.campaign import Campaign
from dispatcher.domain.fleet import PriorityClass
from dispatcher.domain.templates import Template

MakeCampaign = Callable[..., Campaign]


@pytest.fixture
def make_campaign(tmp_path: Path) -> MakeCampaign:
    """Makes a campaign over the given CSV, with a template unless told otherwise."""

    def make(csv: str | bytes, *, template: str | None = "Hi {{ name }}", **changed: object) -> Campaign:
        recipients = tmp_path / "people.csv"
        recipients.write_bytes(csv.encode() if isinstance(csv, str) else csv)
        file = tmp_path / "spring.yaml"
        file.write_text(str(template))
        fields: dict[str, object] = {
            "name": "spring",
            "file": file,
            "recipients": recipients,
            "pool": "marketing",
            "priority": PriorityClass(name="bulk", topic="campaign.jobs", weight=1),
            "template": Template(template) if template is not None else None,
        }
        return Campaign(**fields | changed)  # type: ignore[arg-type]

    return make
