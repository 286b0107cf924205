from dispatcher.alerts.webhooks import body_of
from dispatcher.domain.alert import Alert

ALERT = Alert(
    alert="code_spike",
    subject="campaign <spring>",
    state="raised",
    severity="page",
    why="error 30007 ended 8% of <spring> & more",
    value=0.08,
    threshold=0.05,
    since="2026-11-24T18:00:07.000+00:00",
    at="2026-11-24T18:00:07.000+00:00",
)


def test_json_is_the_record_of_the_topic() -> None:
    assert body_of(ALERT, "json") == {
        "alert": "code_spike",
        "subject": "campaign <spring>",
        "state": "raised",
        "severity": "page",
        "why": "error 30007 ended 8% of <spring> & more",
        "value": 0.08,
        "threshold": 0.05,
        "since": "2026-11-24T18:00:07.000+00:00",
        "at": "2026-11-24T18:00:07.000+00:00",
    }


def test_slack_gets_a_line_that_cannot_be_taken_for_markup() -> None:
    assert body_of(ALERT, "slack") == {
        "text": ":rotating_light: *code_spike* raised: error 30007 ended 8% of &lt;spring&gt; &amp; more"
    }
