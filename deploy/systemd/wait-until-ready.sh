#!/bin/sh
# ExecStartPost of skein.service: returns once the server answers that it is ready. It ends early when the server has
# ended; systemd's TimeoutStartSec bounds the wait.
set -u
while kill -0 "${MAINPID:?set by systemd}" 2>/dev/null; do
  /opt/skein/bin/skein.mjs health >/dev/null 2>&1 && exit 0
  sleep 2
done
echo "skein ended before it was ready" >&2
exit 1
