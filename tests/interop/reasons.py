"""Why a client does not do what a scenario asks for: the one place for what is not a pass on the page.

CANNOT: the client has no way to do it; the scenario is not run. LEAVES_OUT: the client does the rest of the scenario.
FAILS: it is run, and must fail (what is not served is in NON_FEATURES.md); a pass is reported, so that the line goes.
Every other failure is a bug of ours until shown otherwise.
"""

NO_ADMINISTRATION = "kcat has no administration beyond listing"
NOT_STEERED = "kcat's members only read and print, so that the scenario cannot steer them; they are librdkafka"
CLASSIC_ONLY = "the client speaks the classic group protocol only"

CANNOT = {
    "kcat": {
        "topics": NO_ADMINISTRATION,
        "configs": NO_ADMINISTRATION,
        "delete_records": NO_ADMINISTRATION,
        "groups": NO_ADMINISTRATION,
        "rebalance": NOT_STEERED,
        "cooperative_rebalance": NOT_STEERED,
        "consumer_protocol": CLASSIC_ONLY,
        "idempotence": "kcat ends when the connection to its only broker breaks",
        "commit_and_abort": "kcat only commits; tests/interop/kcat_basics.sh has that",
        "fencing": "a transaction begins and ends with the process",
        "transaction_timeout": "a transaction begins and ends with the process",
        "consume_transform_produce": "kcat sends no offsets to transactions",
    },
    "kafkajs": {
        "compression_snappy": "needs a codec from a plug-in",
        "compression_lz4": "needs a codec from a plug-in",
        "compression_zstd": "needs a codec from a plug-in",
        "cooperative_rebalance": "the client has no cooperative assignor",
        "consumer_protocol": CLASSIC_ONLY,
    },
    "aiokafka": {
        "cooperative_rebalance": "the client has no cooperative assignor",
        "consumer_protocol": CLASSIC_ONLY,
    },
    "kafka-python": {
        "consumer_protocol": CLASSIC_ONLY,
    },
}

LEAVES_OUT = {
    "aiokafka": {
        "groups": "without the deletion, which the client lacks",
    },
    "rdkafka": {
        "configs": "but rdkafka does not tell of the refusal of a bad value: it does not look at the answer's errors",
    },
}

FAILS = {}
