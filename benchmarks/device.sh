#!/usr/bin/env bash
# What a machine with a GPU measures, in at most nine minutes: the items of benchmarks/device.txt, one after another.
#
#   benchmarks/device.sh prepare [DATA]     where there is a network: wheels and data for the other, into ./device
#   benchmarks/device.sh [FOLDER]           there: what was measured, into FOLDER (./device-results)
#   benchmarks/device.sh --dry-run          anywhere: a smoke of every item
#
# FOLDER holds log.txt, results.tgz (JSON files for benchmarks/results, a log for each item) and state.tgz.* (trainings
# that are not done, and models that others are judged by, as far as 60 MB hold them; never a file over 15 MB). Given
# again, on this machine or another, the work goes on from there. Time is over after $SECONDS_IN_ALL (520): the item
# that runs then saves and ends, and so does one that takes twice its seconds.
set -uo pipefail
here=$(cd "$(dirname "$0")/.." && pwd)
cd "$here" || exit 1
list=${LIST:-benchmarks/device.txt}
python=${PYTHON:-$(command -v python3 || command -v python)}
alone=(rdkit fcd_torch selfies zuko) # what they need is there, torch above all
whole=(pydantic)                       # whose core fits this very version only

prepare() {
  local data=${1:-../shared/data} platform=() file
  for glibc in 2_28 2_27 2_17; do platform+=(--platform "manylinux_${glibc}_x86_64"); done
  mkdir -p device/wheels
  local fetch=("$python" -m pip download -q --only-binary=:all: --python-version 3.12 --implementation cp
    "${platform[@]}" --platform manylinux2014_x86_64 -c constraints.txt -d device/wheels)
  "${fetch[@]}" --no-deps "${alone[@]}" && "${fetch[@]}" "${whole[@]}" || exit 1
  for file in mnist.npz text/captions_{train,valid,test}.txt molecules/guacamol_{train,valid,test}.smi; do
    mkdir -p "device/data/$(dirname "$file")" && cp "$data/$file" "device/data/$file" && chmod u+w "device/data/$file" || exit 1
  done
  local total
  total=$( (git ls-files -z; find device -type f -print0) | du -cb --files0-from=- | tail -1 | cut -f1)
  echo "device/ and the repository: $((total / 1000000)) MB"
  ((total < 64 * 1024 * 1024)) || { echo "more than the 64 MiB that travel: take wheels or data out of device/"; exit 1; }
}

dry_run() {
  PYTHONPATH=src:benchmarks "$python" -W ignore - "$list" <<'EOF'
import runpy, shlex, sys, tempfile
from pathlib import Path

place = tempfile.TemporaryDirectory()
results = Path(place.name)
for line in Path(sys.argv[1]).read_text().splitlines():
    if not line or line.startswith("#"):
        continue
    seconds, python, *words = shlex.split(line)
    assert int(seconds) and python == "python", line
    print(line, flush=True)
    if words[0] == "-m":
        import pytest

        assert words[1] == "pytest" and pytest.main([*words[2:], "--collect-only"]) == 0, line
        continue
    sys.argv = [*words, "--smoke", "--results", place.name]
    runpy.run_path(words[0], run_name="__main__")
    written = list(results.glob("*.json"))
    assert written, line
    for path in written:
        path.unlink()
EOF
}

measure() {
  folder=${1:-device-results} work=runs/device all=${SECONDS_IN_ALL:-520}
  mkdir -p "$folder" "$work"/{results,logs,done}
  [ -f "$folder/results.tgz" ] && tar -xzf "$folder/results.tgz" -C "$work"
  compgen -G "$folder/state.tgz.*" >/dev/null && cat "$folder"/state.tgz.* | tar -xz
  if [ -d device/wheels ] && [ ! -d "$work/site" ]; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --target "$work/site" device/wheels/*.whl || exit 1
  fi
  [ -d device/data ] && export FUSEVAE_DATA=$here/device/data
  export PYTHONPATH=$here/$work/site:$here/src PYTHONUNBUFFERED=1
  trap 'end 143' TERM INT
  say "$("$python" -c 'import platform, torch; print(platform.python_version(), torch.__version__, torch.cuda.is_available() and torch.cuda.get_device_name())')"
  while read -r seconds command; do
    [[ -z $seconds || $seconds == \#* ]] && continue
    name=$(tr -cs 'a-z0-9\n' - <<<"${command#python }") name=${name%-}
    left=$((all - SECONDS))
    if [ -f "$work/done/$name" ]; then
      say "done before: $command"
    elif ((left < seconds / 2)); then
      say "no time ($left s left): $command"
    else
      item "$name" $((left < 2 * seconds ? left : 2 * seconds)) $command
    fi
  done <"$list"
  end 0
}

# One item, in a group of processes of its own; whoever trains in it has 20 s to save.
item() {
  local name=$1 limit=$2 started=$SECONDS code
  shift 2
  local words=("$python" "${@:2}")
  [[ ${words[1]} == benchmarks/* ]] && words+=(--results "$work/results")
  timeout --kill-after=20 "$limit" "${words[@]}" >>"$work/logs/$name.txt" 2>&1 </dev/null &
  running=$!
  wait "$running"
  code=$?
  leave
  ((code == 0)) && touch "$work/done/$name"
  say "$( ((code == 0)) && echo done || { ((code == 124)) && echo "not done in" || echo "FAILED ($code)"; }) $((SECONDS - started)) s: $*"
}

# Wait for the processes of the item, which may be saving; then end them.
leave() {
  for _ in $(seq 20); do
    kill -0 -- "-$running" 2>/dev/null || return
    sleep 1
  done
  kill -KILL -- "-$running" 2>/dev/null
}

say() { echo "$*" | tee -a "$folder/log.txt"; }

# Pack what there is, also where this script is told to end.
end() {
  trap '' TERM INT
  if (($1)) && [ -n "${running:-}" ]; then kill -TERM -- "-$running" 2>/dev/null && leave; fi
  tar -czf "$folder/results.tgz" -C "$work" results logs done
  local room=60000000 kept=() size path
  while read -r size path; do
    if ((size <= room)); then kept+=("$path") room=$((room - size)); else say "too large to take along: $path"; fi
  done < <(find runs -mindepth 2 -maxdepth 2 -type d -not -path "$work/*" -exec du -sb {} + 2>/dev/null | sort -n)
  rm -f "$folder"/state.tgz.*
  ((${#kept[@]})) && tar -cz "${kept[@]}" | split -b 15000000 -d - "$folder/state.tgz."
  exit "$1"
}

running=""
case ${1:-} in
  prepare) prepare "${2:-}" ;;
  --dry-run) dry_run ;;
  *) measure "${1:-}" ;;
esac
