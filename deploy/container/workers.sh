#!/bin/sh
# The ranks of one host in one container: SKEIN_NUM_WORKERS workers (default 1), each with a device and a port of its
# own, so that ranks of a host see each other's GPUs. SKEIN_WORKER_HOST is the address of this host that the others
# reach, SKEIN_WORKER_PORT the first port. Ends with the first worker that ends, with its exit code, after the others
# have been told to.
set -u
count=${SKEIN_NUM_WORKERS:-1}
host=${SKEIN_WORKER_HOST:?the address of this host that the coordinator and the other ranks reach}
port=${SKEIN_WORKER_PORT:-50060}
# LeaderWorkerSet tells every pod of a group where its first one is.
if [ -z "${SKEIN_COORDINATOR:-}" ] && [ -n "${LWS_LEADER_ADDRESS:-}" ]; then
  export SKEIN_COORDINATOR="$LWS_LEADER_ADDRESS:50050"
fi
device=${SKEIN_DEVICE:-cpu}
pids=
stop() { trap '' TERM INT; [ -z "$pids" ] || kill -TERM $pids 2>/dev/null; }
trap stop TERM INT
index=0
while [ "$index" -lt "$count" ]; do
  on=$device
  [ "$device" = cuda ] && on=cuda:$index
  skein worker --listen "$host:$((port + index))" --device "$on" --worker-id "$(hostname)-$index" &
  pids="$pids $!"
  index=$((index + 1))
done
# wait without names returns when all have ended or a signal came: so look each second which one is gone.
while :; do
  for pid in $pids; do
    if ! kill -0 "$pid" 2>/dev/null; then
      wait "$pid"
      code=$?
      stop
      wait
      exit "$code"
    fi
  done
  sleep 1 &
  wait $!
done
