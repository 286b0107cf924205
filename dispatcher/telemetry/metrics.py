"""Every metric, declared once, with the sentence that Prometheus shows."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from dispatcher.telemetry.tallies import TallyCounter, TallyHistogram

registry = CollectorRegistry(auto_describe=True)

# Intake
JOBS_RECEIVED = TallyCounter(
    "dispatcher_jobs_received", "Jobs read from Kafka and taken in hand.", ["priority"], registry=registry
)
DEAD_LETTERS = Counter(
    "dispatcher_dead_letters", "Records that were no job and went to the dead letters.", registry=registry
)
JOBS_IN_HAND = Gauge("dispatcher_jobs_in_hand", "Jobs read and not yet settled, now.", ["priority"], registry=registry)
LAG = Gauge(
    "dispatcher_lag_records", "Records that wait in Kafka and are not yet read, now.", ["priority"], registry=registry
)
PARTITIONS = Gauge(
    "dispatcher_assigned_partitions", "Partition indices that this worker owns; its share of every rate.",
    registry=registry,
)  # fmt: skip
CONSUMERS_REPLACED = Counter(
    "dispatcher_consumers_replaced",
    "Consumers of the jobs topics that were replaced, by what stood still: breaking, group, takeover, fetching, "
    "commits.",
    ["mechanism"],
    registry=registry,
)

# Compliance
SUPPRESSIONS = Counter(
    "dispatcher_suppressions_read", "Records of the suppressions topic that were read.", registry=registry
)
PARKED = Gauge(
    "dispatcher_parked_messages", "Messages that wait in the topic of each tier, now.", ["tier"], registry=registry
)
POSTPONED = Counter(
    "dispatcher_postponed_messages",
    "Messages put off to a later time, by why: schedule, quiet_hours, tmobile_cap, account_cap, frequency.",
    ["reason"],
    registry=registry,
)
CONTENT_WARNINGS = Counter(
    "dispatcher_content_warnings", "Bodies that a rule of `content` warns of, by rule.", ["rule"], registry=registry
)

# Config
CONFIG_INFO = Gauge(
    "dispatcher_config_info",
    "1 for the version of the config file that the worker runs by: the beginning of the SHA-256 of its text.",
    ["version"],
    registry=registry,
)
CONFIG_TAKEN_UP = Gauge(
    "dispatcher_config_taken_up_timestamp_seconds",
    "When the worker took up the config that it runs by, in seconds of the epoch.",
    registry=registry,
)
CONFIG_REFUSED = Counter(
    "dispatcher_config_refused", "Edits of the config file that the worker refused.", registry=registry
)
CONFIG_IS_REFUSED = Gauge(
    "dispatcher_config_is_refused",
    "1 while the config file says what the worker refused, so that it runs by what it said before; see the log.",
    registry=registry,
)

# Pacing and sharding
WAITING = Gauge(
    "dispatcher_waiting_messages",
    "Messages that wait for their turn, now, by the limit at which they wait: sender, queue, account, family, "
    "campaign, concurrency, suspended, held (the campaign is paused), journal, cap (of a day).",
    ["reason"],
    registry=registry,
)
QUEUE_SECONDS = Gauge(
    "dispatcher_twilio_queue_seconds",
    "Modelled depth of the sender's queue at Twilio, now, in seconds of its rate.",
    ["lane"],
    registry=registry,
)
LANE_WAITING = Gauge(
    "dispatcher_lane_waiting_messages", "Messages that wait in each lane, now.", ["lane"], registry=registry
)
MOVED = Gauge(
    "dispatcher_moved_messages",
    "Messages that another sender of their pool took over, since the start.",
    registry=registry,
)
QUARANTINED = Gauge("dispatcher_quarantined_senders", "Senders that are in quarantine, now.", registry=registry)

RATE_FACTOR = Gauge(
    "dispatcher_sender_rate_factor",
    "At which factor of its configured rate a sender is, now: below 1 by an order or by feedback; see the log for why.",
    ["sender"],
    registry=registry,
)

RULES_APPLIED = Counter(
    "dispatcher_feedback_rules_applied",
    "Times that a rule of the config acted, by what it did: suspend_sender, rate, pause_campaign.",
    ["deed"],
    registry=registry,
)

# Delivery
IN_FLIGHT = Gauge(
    "dispatcher_requests_in_flight", "Requests to Twilio without an answer yet, now.", ["account"], registry=registry
)
CONCURRENCY = Gauge(
    "dispatcher_concurrency_limit", "Requests that the account may have in flight, now.", ["account"],
    registry=registry,
)  # fmt: skip
REQUESTS = TallyCounter(
    "dispatcher_requests",
    "Requests to Twilio by what came of them: accepted, declined, throttled (429), unreached, in_doubt.",
    ["account", "outcome"],
    registry=registry,
)
REQUEST_SECONDS = TallyHistogram(
    "dispatcher_request_seconds",
    "Time from a request to its answer.",
    ["account"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10, 20),
    registry=registry,
)
TWILIO_ERRORS = Counter(
    "dispatcher_twilio_errors", "Answers of Twilio with an error code.", ["code"], registry=registry
)
SEGMENTS = TallyCounter(
    "dispatcher_segments_accepted", "Message segments that Twilio accepted.", ["sender"], registry=registry
)
WAITED_SECONDS = TallyHistogram(
    "dispatcher_waited_seconds",
    "Time from a job's append to Kafka to its request.",
    ["priority"],
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 15, 60, 300, 1800, 7200),
    registry=registry,
)

JOURNAL_SECONDS = Histogram(
    "dispatcher_journal_seconds",
    "Time until an intent is safe in Kafka; above 0.05 s senders miss beats.",
    buckets=(0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 1, 5),
    registry=registry,
)

# Outcomes
RESULTS = TallyCounter("dispatcher_results", "Final results by status.", ["status"], registry=registry)
COMMITS = Counter("dispatcher_commits", "Commits of offsets, by result: ok, failed.", ["result"], registry=registry)

# In doubt
IN_DOUBT = Gauge("dispatcher_in_doubt_messages", "Messages of which nobody knows yet whether Twilio has them, now.",
    registry=registry,
)  # fmt: skip
REDELIVERIES = Counter(
    "dispatcher_redeliveries",
    "Undelivered messages that a pool tries again, by what came of it: again (another message was published), late "
    "(its time had passed), exhausted, expired, gone (its job is no longer in Kafka).",
    ["what"],
    registry=registry,
)
RETRIES = Counter(
    "dispatcher_retries",
    "Attempts that came to nothing and were not the last, by the account of the next and by Twilio's code (in_doubt: "
    "no answer, and nothing found).",
    ["account", "code"],
    registry=registry,
)
DOUBTS = Counter(
    "dispatcher_doubts_resolved",
    "Messages in doubt by how that ended: callback, list (both: accepted), resend, unknown (by the pool's policy).",
    ["how"],
    registry=registry,
)

# Webhooks
WEBHOOK_SECONDS = Histogram(
    "dispatcher_webhook_seconds",
    "Time from a request of Twilio's to its answer.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    registry=registry,
)
WEBHOOK_ANSWERS = Counter(
    "dispatcher_webhook_answers", "Answers to Twilio by HTTP status.", ["code"], registry=registry
)
WEBHOOK_SIGNATURES = Counter(
    "dispatcher_webhook_signature_failures",
    "Requests that Twilio did not sign, by reason: unsigned, unknown_account, forged.",
    ["reason"],
    registry=registry,
)
WEBHOOK_CONNECTIONS_REFUSED = Counter(
    "dispatcher_webhook_connections_refused", "Connections closed because there were too many.", registry=registry
)
CALLBACKS = Counter(
    "dispatcher_callbacks", "Callbacks taken, by kind (status, inbound) and Twilio's status.", ["kind", "status"],
    registry=registry,
)  # fmt: skip
CALLBACK_KAFKA_SECONDS = Histogram(
    "dispatcher_callback_kafka_seconds",
    "Time from sending a batch of callbacks to Kafka to its acknowledgement.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30),
    registry=registry,
)
CALLBACKS_SPOOLED = Counter(
    "dispatcher_callbacks_spooled",
    "Callbacks that were written to disk because Kafka took too long.",
    registry=registry,
)
SPOOL_BYTES = Gauge("dispatcher_spool_bytes", "Size of the callbacks on disk, now.", registry=registry)
SPOOL_RECORDS = Gauge("dispatcher_spool_records", "Callbacks on disk, now.", registry=registry)

# Alerts
ALERTS = Gauge(
    "dispatcher_alerts",
    "Alerts, 1 while raised, by rule and by what they are about; severity is page or ticket.",
    ["alert", "subject", "severity"],
    registry=registry,
)
ALERT_WEBHOOKS = Counter(
    "dispatcher_alert_webhooks",
    "Alerts to webhooks by what came of them: told, refused (after the last try), dropped (too many waited).",
    ["result"],
    registry=registry,
)

# Opt-outs
OPT_OUTS = Counter(
    "dispatcher_opt_outs", "Words of recipients that were obeyed: stop, start.", ["word"], registry=registry
)

# Tracking
CALLBACKS_READ = Counter(
    "dispatcher_callbacks_read",
    "Callbacks read from Kafka, by what they amounted to: news, repeated, late (a later status was known), stray (of "
    "another request for the same message), no_status (of Twilio's that we do not know), unreadable.",
    ["result"],
    registry=registry,
)
DELIVERIES = TallyCounter(
    "dispatcher_deliveries", "Messages that came to each status of their delivery.", ["status"], registry=registry
)
DELIVERY_ERRORS = TallyCounter(
    "dispatcher_delivery_errors",
    "Messages that ended with an error, by Twilio's code: refused, failed or undelivered.",
    ["code"],
    registry=registry,
)
QUEUE_DELAY = TallyHistogram(
    "dispatcher_queue_delay_seconds",
    "Time from Twilio's acceptance of a message to the news that it was sent.",
    [],
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 36000),
    registry=registry,
)
DELIVERY_DELAY = TallyHistogram(
    "dispatcher_delivery_delay_seconds",
    "Time from Twilio's acceptance of a message to the news that it was delivered.",
    [],
    buckets=(0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 36000),
    registry=registry,
)
SENDER_QUEUED = Gauge(
    "dispatcher_sender_queued_messages",
    "Messages that Twilio accepted and of which nothing says that they were sent, now.",
    ["sender"],
    registry=registry,
)
SENDER_DELAY = Gauge(
    "dispatcher_sender_queue_delay_seconds",
    "Time that the latest messages waited at Twilio, now; 0 when none were sent lately.",
    ["sender"],
    registry=registry,
)
CALLBACKS_MISSING = Gauge(
    "dispatcher_callbacks_missing_messages",
    "Messages whose callbacks did not come in time, and of which Twilio has yet to be asked, now.",
    registry=registry,
)
POLLS = Counter(
    "dispatcher_polls",
    "Messages asked about at Twilio because callbacks did not come, by what it said: changed, unchanged, not_found, "
    "failed.",
    ["result"],
    registry=registry,
)
TRACK_LAG = Gauge(
    "dispatcher_track_lag_records", "Records that tracking has not read yet, now.", ["topic"], registry=registry
)
