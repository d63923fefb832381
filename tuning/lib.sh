# Common to the knobs beside this file; read by them, never run. A knob says `check`, `apply` and `undo` as functions.
#   KNOB [check]                what is, what should be; exit 0 when it is so
#   KNOB apply|undo [ARG...]    prints the commands only
#   KNOB apply|undo --really    runs them (as root); doing it twice changes nothing more
# What was there before is kept in OTTLA_TUNING_STATE (default /var/lib/ottla/tuning) until `undo`.
# OTTLA_TUNING_ROOT is put in front of /etc, /sys and /proc, for trying a knob on a made-up machine.
set -euo pipefail
knob=$(basename "$0")
root=${OTTLA_TUNING_ROOT:-}
state=${OTTLA_TUNING_STATE:-/var/lib/ottla/tuning}/$knob
really=no verb=check args=()
for word in "$@"; do
  case $word in
    --really) really=yes ;;
    check|apply|undo) if [ ${#args[@]} -eq 0 ]; then verb=$word; else args+=("$word"); fi ;;
    -h|--help) sed -n '2,/^[^#]/{/^#/p}' "$0"; sed -n '2,4p' "$(dirname "$0")/lib.sh"; exit 0 ;;
    -*) echo "$knob: no such option: $word" >&2; exit 2 ;;
    *) args+=("$word") ;;
  esac
done

say() { echo "$knob: $*"; }
give_up() { say "$*" >&2; exit 2; }
# Prints a command, and runs it if that was asked for.
run() { echo "  $*"; [ $really = no ] || "$@"; }
# Makes FILE hold TEXT; remembers what it held before, once.
put() {
  local file=$root$1 text=$2 kept
  [ "$(cat "$file" 2>/dev/null)" = "$text" ] && return 0
  echo "  echo '$text' > $file"
  [ $really = yes ] || return 0
  kept=$state/${1//\//_}
  mkdir -p "$state" "$(dirname "$file")"
  if [ ! -e "$kept" ] && [ ! -e "$kept.absent" ]; then
    if [ -e "$file" ]; then cat "$file" >"$kept"; else : >"$kept.absent"; fi
  fi
  echo "$text" >"$file"
}
# Brings FILE back to what `put` found; for /sys and /proc say with $2 how to read the kept value.
restore() {
  local file=$root$1 kept=$state/${1//\//_} value
  if [ -e "$kept.absent" ]; then
    echo "  rm $file"
    [ $really = no ] || { rm -f "$file" "$kept.absent"; }
  elif [ -e "$kept" ]; then
    value=$(cat "$kept"); [ -z "${2:-}" ] || value=$("$2" <<<"$value")
    echo "  echo '$value' > $file"
    [ $really = no ] || { echo "$value" >"$file"; rm -f "$kept"; }
  else
    say "nothing kept of $1: it was not changed by this knob"
  fi
}
go() {
  [ $verb = check ] && { check; return; }
  [ $really = yes ] || say "would do (say --really to do it):"
  "$verb"
}
