echo 'kcat:hello from kcat' | kcat -b "${BOOTSTRAP:-localhost:9092}" -P -t greetings -K : -X enable.idempotence=true
