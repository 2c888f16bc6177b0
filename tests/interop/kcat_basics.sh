#!/usr/bin/env bash
# kcat: metadata, produce, consume, keys, headers, every compression, offsets by time, groups, transactions.
set -euo pipefail

b=$BOOTSTRAP
run=$$.$RANDOM
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check() { # what, got, wanted
    if [ "$2" != "$3" ]; then
        printf 'WRONG: %s\n--- got\n%s\n--- wanted\n%s\n' "$1" "$2" "$3"
        exit 1
    fi
    echo "ok: $1"
}
consume() { kcat -b "$b" -C -q -e "$@"; }

# A topic is made by the first message.
topic=kcat.basics.$run
printf 'alpha\nbeta\ngamma\n' | kcat -b "$b" -P -t "$topic"
check "messages come back in order" "$(consume -t "$topic" -o beginning)" $'alpha\nbeta\ngamma'
check "offsets count from 0" "$(consume -t "$topic" -o beginning -f '%o ')" "0 1 2 "
check "the last one by a negative offset" "$(consume -t "$topic" -o -1)" gamma
check "from an absolute offset, one message" "$(consume -t "$topic" -o 1 -c 1)" beta

listing=$(kcat -b "$b" -L -t "$topic")
grep -q "broker .* at $b" <<<"$listing" || { echo "WRONG: -L names no broker at $b: $listing"; exit 1; }
grep -q "partition 0, leader" <<<"$listing" || { echo "WRONG: -L shows no leader: $listing"; exit 1; }
kcat -b "$b" -L -J | python3 -c '
import json, sys
seen = json.load(sys.stdin)
assert len(seen["brokers"]) == 1, seen
assert sys.argv[1] in [topic["topic"] for topic in seen["topics"]], seen' "$topic"
echo "ok: -L shows the broker, the topic and its leader"

topic=kcat.keys.$run
printf 'k1:v1\nk2:\nk3:v3\n' | kcat -b "$b" -P -t "$topic" -K: -Z -H colour=blue -H size=7
check "keys, headers and a tombstone" \
    "$(consume -t "$topic" -o beginning -Z -f '%k=%s [%h] %S\n')" \
    $'k1=v1 [colour=blue,size=7] 2\nk2=NULL [colour=blue,size=7] -1\nk3=v3 [colour=blue,size=7] 2'

for codec in none gzip snappy lz4 zstd; do
    topic=kcat.$codec.$run
    seq -f 'a line that compresses well %g' 1 5000 >"$work/in"
    kcat -b "$b" -P -t "$topic" -z "$codec" -X linger.ms=50 -l "$work/in"
    consume -t "$topic" -o beginning >"$work/out"
    cmp "$work/in" "$work/out" || { echo "WRONG: $codec comes back changed"; exit 1; }
    echo "ok: compression $codec"
done

topic=kcat.acks.$run
for acks in 0 1 all; do
    echo "acks $acks" | kcat -b "$b" -P -t "$topic" -X acks=$acks
done
check "acks 0, 1 and all" "$(consume -t "$topic" -o beginning)" $'acks 0\nacks 1\nacks all'

# 3 MB is over Kafka's limit for a message; 900 kB is under it.
head -c 900000 /dev/zero | tr '\0' x >"$work/large"
topic=kcat.large.$run
kcat -b "$b" -P -t "$topic" "$work/large"
check "a message of 900 kB" "$(consume -t "$topic" -o beginning -f '%S\n')" 900000
head -c 3000000 /dev/zero | tr '\0' x >"$work/too-large"
if kcat -b "$b" -P -t "$topic" -X message.max.bytes=4000000 "$work/too-large" 2>"$work/error"; then
    echo "WRONG: a message over max.message.bytes was taken"
    exit 1
fi
grep -qi "too large" "$work/error" || { echo "WRONG: refused otherwise: $(cat "$work/error")"; exit 1; }
echo "ok: a message over the limit is refused as too large"

topic=kcat.times.$run
echo first | kcat -b "$b" -P -t "$topic"
sleep 0.05
middle=$(date +%s%3N)
sleep 0.05
echo second | kcat -b "$b" -P -t "$topic"
check "offset by timestamp" "$(kcat -b "$b" -Q -t "$topic:0:$middle" | grep -o 'offset [0-9]*')" "offset 1"
check "the earliest offset" "$(kcat -b "$b" -Q -t "$topic:0:-2" | grep -o 'offset [0-9]*')" "offset 0"
check "the latest offset" "$(kcat -b "$b" -Q -t "$topic:0:-1" | grep -o 'offset [0-9]*')" "offset 2"
check "consume from a timestamp" "$(consume -t "$topic" -o "s@$middle")" second

# A group goes on where it stopped.
topic=kcat.group.$run
printf '1\n2\n3\n' | kcat -b "$b" -P -t "$topic"
group() { timeout 40 kcat -b "$b" -G "group.$run" -q -e -X auto.offset.reset=earliest "$topic" 2>/dev/null; }
check "a group reads from the beginning" "$(group)" $'1\n2\n3'
printf '4\n5\n' | kcat -b "$b" -P -t "$topic"
check "and goes on where it stopped" "$(group)" $'4\n5'

topic=kcat.txn.$run
printf 'one\ntwo\n' | kcat -b "$b" -P -t "$topic" -X transactional.id="kcat.$run"
check "a transaction is read at read-committed" \
    "$(consume -t "$topic" -o beginning -X isolation.level=read_committed)" $'one\ntwo'
check "its commit marker takes an offset" "$(kcat -b "$b" -Q -t "$topic:0:-1" | grep -o 'offset [0-9]*')" "offset 3"

topic=kcat.idempotent.$run
seq 1 20000 >"$work/in"
kcat -b "$b" -P -t "$topic" -X enable.idempotence=true -l "$work/in"
consume -t "$topic" -o beginning >"$work/out"
cmp "$work/in" "$work/out" || { echo "WRONG: idempotent messages lost, doubled or out of order"; exit 1; }
echo "ok: 20000 idempotent messages in order"

if kcat -b "$b" -C -q -e -t "kcat.absent.$run" -X allow.auto.create.topics=false 2>"$work/error"; then
    echo "WRONG: a topic that is not there was read"
    exit 1
fi
grep -qi "unknown topic" "$work/error" || { echo "WRONG: said otherwise: $(cat "$work/error")"; exit 1; }
echo "ok: an unknown topic is an error"
