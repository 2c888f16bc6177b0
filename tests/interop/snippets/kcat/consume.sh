kcat -b "${BOOTSTRAP:-localhost:9092}" -G greeters-kcat -X auto.offset.reset=earliest -f '%k: %s\n' -u greetings
