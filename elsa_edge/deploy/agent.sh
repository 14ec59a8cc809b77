# The device's side of a deployment, in POSIX shell: a phone or a bare board has nothing else. See agent.py.
#
#   ROOT/blobs/SHA256            immutable files by content; they appear by rename after their hash was checked
#   ROOT/incoming/SHA256         a blob that is on its way; kept when the line breaks, so that the next try goes on
#   ROOT/python/SHA256           an unpacked wheel; without Python, the verifier is a blob that releases name
#   ROOT/releases/HASH           a complete release (copies of blobs); `verified` and `good` say how far it came, `tries`
#                                how often the device itself began its first runs
#   ROOT/current -> releases/HASH    the only thing that applications look at; switched by one rename
#   ROOT/previous                what --rollback returns to
#   ROOT/trusted                 whose bundles are let in; absent: anybody's
#   ROOT/counter                 `COUNTER IDENTITY` of the newest signed bundle that was accepted
#   ROOT/lock/                   who is at work here
#   ROOT/.store                  that the folder is ours: one that is not empty and has no such mark is left alone
#
# Files are made by `true > FILE`: a redirection of `:` that fails ends a POSIX shell at once, without a reply.
# Everything is a function and the last line calls one: a script that arrives in part does nothing at all.
# Settings come first, as plain assignments: VERB, ROOT, TOKEN, OWNER and those of the verb. Replies: `@elsa KEY VALUE`.

say() { printf '@elsa %s %s\n' "$1" "$2"; }

fail() {
  say error "$1"
  say end 1
  exit 1
}

first_of() { [ -r "$1" ] && head -n 1 "$1" 2>/dev/null | tr -d '\000'; }

hash_of() { sha256sum < "$1" | cut -c 1-64; }

# Only this file system, where `sync` can: others may be busy.
flush() { sync -f "$ROOT" 2>/dev/null || sync; }

size_of() { wc -c < "$1" | tr -d ' '; }

# --- looking -------------------------------------------------------------------------------------------------------

look_machine() {
  say arch "$(uname -m)"
  say kernel "$(uname -r)"
  say system "$(getprop ro.build.version.release 2>/dev/null | sed 's/^/android /' | grep . || uname -s)"
  model="$(first_of /proc/device-tree/model)"
  [ -n "$model" ] || model="$(getprop ro.product.model 2>/dev/null)"
  [ -n "$model" ] || model="$(sed -n -e 's/^Model[^:]*: *//p' -e 's/^model name[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)"
  say model "$model"
  say cores "$(grep -c '^processor' /proc/cpuinfo 2>/dev/null)"
  say features "$(sed -n -e 's/^flags[^:]*: *//p' -e 's/^Features[^:]*: *//p' /proc/cpuinfo 2>/dev/null | head -n 1)"
  say memory_kb "$(sed -n 's/^MemTotal: *\([0-9]*\).*/\1/p' /proc/meminfo)"
  say available_kb "$(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo)"
  say page_bytes "$(getconf PAGESIZE 2>/dev/null || echo 4096)"
  say governor "$(first_of /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor)"
  say home "$HOME"
  for tool in sha256sum rsync ssh-keygen; do
    command -v "$tool" > /dev/null 2>&1 && say tool "$tool"
  done
}

# Pythons up to the first that is new enough: which they are, what they can load, and which wheels they take.
look_python() {
  printf '%s\n' "$PYTHONS" | while IFS= read -r candidate; do
    command -v "$candidate" > /dev/null 2>&1 || continue
    reply="$("$candidate" - 2>/dev/null << 'PYTHON'
import json, os, sys
packages = {}
try:
    from importlib.metadata import PackageNotFoundError, version
    for name in ("elsa-edge", "numpy", "PyYAML", "onnxruntime", "ai-edge-litert", "tflite-runtime"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            pass
except ImportError:
    pass
try:
    libc = os.confstr("CS_GNU_LIBC_VERSION") or ""
except (ValueError, OSError, AttributeError):
    libc = ""
print(json.dumps({"path": sys.executable, "version": sys.version_info[:3], "bits": 64 if sys.maxsize > 2**32 else 32,
                  "libc": libc, "packages": packages}))
PYTHON
)" || continue
    say python "$reply"
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' && break
  done
}

# Whether the folder is somebody else's. Ours without the mark has a release from before there was one.
foreign() {
  [ -e "$ROOT" ] && [ ! -d "$ROOT" ] && return 0
  [ -d "$ROOT" ] && [ ! -f "$ROOT/.store" ] && [ -n "$(ls -A "$ROOT")" ] || return 1
  for list in "$ROOT"/releases/*/release.list; do [ -f "$list" ] && return 1; done
  return 0
}

look_store() {
  say root "$ROOT"
  foreign && say foreign yes
  place="$ROOT"
  while [ ! -d "$place" ]; do place="$(dirname "$place")"; done
  say free_kb "$(df -Pk "$place" 2>/dev/null | sed -n 2p | tr -s ' ' | cut -d ' ' -f 4)"
  [ -w "$place" ] && say writable yes
  [ -d "$ROOT" ] || return 0
  foreign && return 0
  [ -f "$ROOT/current/device.yaml" ] && say profile "$(sed 1d "$ROOT/current/device.yaml" | sha256sum | cut -c 1-64)"
  [ -L "$ROOT/current" ] && say current "$(basename "$(readlink "$ROOT/current")")"
  say previous "$(first_of "$ROOT/previous")"
  [ -f "$ROOT/current/release.list" ] && while read -r hash _ path; do say item "$hash $path"; done < "$ROOT/current/release.list"
  say counter "$(first_of "$ROOT/counter")"
  [ -f "$ROOT/trusted" ] && while IFS= read -r line; do say trusted "$line"; done < "$ROOT/trusted"
  for release in "$ROOT"/releases/*; do
    [ -f "$release/release.list" ] || continue
    state=staged
    [ -f "$release/verified" ] && state=verified
    [ -f "$release/good" ] && state=good
    say release "$(basename "$release") $state $(first_of "$release/name")"
  done
  for blob in "$ROOT"/blobs/*; do
    [ -f "$blob" ] && say blob "$(basename "$blob") $(size_of "$blob")"
  done
  for part in "$ROOT"/incoming/*; do
    [ -f "$part" ] && say part "$(basename "$part") $(size_of "$part")"
  done
  for wheel in "$ROOT"/python/*; do
    [ -d "$wheel" ] && say wheel "$(basename "$wheel")"
  done
  look_lock
}

boot_id() { first_of /proc/sys/kernel/random/boot_id; }

# Nobody holds a lock any more that was taken before the device was started again.
held() { [ -d "$ROOT/lock" ] && { [ ! -f "$ROOT/lock/boot" ] || [ "$(first_of "$ROOT/lock/boot")" = "$(boot_id)" ]; }; }

# Seconds since its owner's last step.
lock_age() {
  since="$(first_of "$ROOT/lock/since")"
  echo "$(($(date +%s) - ${since:-0}))"
}

look_lock() {
  held || return 0
  say lock "$(first_of "$ROOT/lock/token") $(lock_age) $(first_of "$ROOT/lock/owner")"
}

verb_look() {
  look_machine
  look_python
  look_store
}

# --- the lock ------------------------------------------------------------------------------------------------------

# TAKE_FROM is the token of a lock that its owner will not come back for; only one deployment can rename it away. The new
# lock appears with its owner in it: a directory cannot be renamed onto one that has something in it.
verb_lock() {
  foreign && fail "$ROOT holds files that are not ours"
  mkdir -p "$ROOT" && true > "$ROOT/.store" || fail "cannot write to $ROOT"
  mkdir -p "$ROOT/blobs" "$ROOT/incoming" "$ROOT/releases" "$ROOT/python" || fail "cannot write to $ROOT"
  take_lock || { look_lock; fail locked; }
}

take_lock() {
  held || TAKE_FROM="$(first_of "$ROOT/lock/token")"
  if [ -n "$TAKE_FROM" ] && [ "$(first_of "$ROOT/lock/token")" = "$TAKE_FROM" ]; then
    mv "$ROOT/lock" "$ROOT/.lock.$TOKEN" 2>/dev/null && rm -rf "$ROOT/.lock.$TOKEN"
  fi
  making="$ROOT/.making.$TOKEN"
  mkdir "$making" && printf '%s\n' "$OWNER" > "$making/owner" && date +%s > "$making/since" && boot_id > "$making/boot" \
    && printf '%s\n' "$TOKEN" > "$making/token" || { rm -rf "$making"; fail "no space to write the lock"; }
  mv -T "$making" "$ROOT/lock" 2>/dev/null || { rm -rf "$making"; return 1; }
}

ours() {
  [ "$(first_of "$ROOT/lock/token")" = "$TOKEN" ] || fail "another deployment has taken over"
  date +%s > "$ROOT/lock/since.new" && mv "$ROOT/lock/since.new" "$ROOT/lock/since"
}

verb_unlock() {
  [ "$(first_of "$ROOT/lock/token")" = "$TOKEN" ] && rm -rf "$ROOT/lock"
  return 0
}

# --- blobs ---------------------------------------------------------------------------------------------------------

# BASES: lines `NEW OLD`. A changed file starts as a copy of the blob that had its name, so that rsync sends differences.
verb_seed() {
  ours
  printf '%s\n' "$BASES" | while read -r new old; do
    [ -n "$new" ] && [ -f "$ROOT/blobs/$old" ] && [ ! -f "$ROOT/incoming/$new" ] || continue
    cp "$ROOT/blobs/$old" "$ROOT/incoming/.$new" && chmod u+w "$ROOT/incoming/.$new" \
      && mv "$ROOT/incoming/.$new" "$ROOT/incoming/$new"
  done
}

# BLOBS: lines `SHA256 SIZE` of what was sent. Each that arrived whole becomes a blob; the others are named and removed.
verb_receive() {
  ours
  bad=0
  while read -r hash size; do
    [ -n "$hash" ] || continue
    [ -f "$ROOT/blobs/$hash" ] && { rm -f "$ROOT/incoming/$hash"; continue; }
    arrived="$ROOT/incoming/$hash"
    if [ -f "$arrived" ] && [ "$(size_of "$arrived")" = "$size" ] && [ "$(hash_of "$arrived")" = "$hash" ]; then
      chmod 444 "$arrived" && mv "$arrived" "$ROOT/blobs/$hash" || fail "blob $hash cannot be stored"
    else
      say damaged "$hash"
      rm -f "$arrived"
      bad=1
    fi
  done << LIST
$BLOBS
LIST
  return $bad
}

verb_forget() {
  ours
  rm -rf "$ROOT/incoming"
  mkdir -p "$ROOT/incoming"
}

# --- releases ------------------------------------------------------------------------------------------------------

# WHEELS: hashes of wheels, which are zip files. The device's Python unpacks each to a folder of its own.
unpack_wheels() {
  for wheel in $WHEELS; do
    [ -d "$ROOT/python/$wheel" ] && continue
    rm -rf "$ROOT/python/.$wheel"
    "$PYTHON" - "$ROOT/blobs/$wheel" "$ROOT/python/.$wheel" << 'UNPACK' || fail "a wheel cannot be unpacked"
import pathlib, sys, zipfile
archive, target = zipfile.ZipFile(sys.argv[1]), pathlib.Path(sys.argv[2])
archive.extractall(target)
for data in list(target.glob("*.data/*lib")):
    for entry in list(data.iterdir()):
        entry.rename(target / entry.name)
UNPACK
    mv "$ROOT/python/.$wheel" "$ROOT/python/$wheel" || fail "a wheel cannot be stored"
    rm -f "$ROOT/blobs/$wheel"
  done
}

# LIST: lines `SHA256 SIZE PATH`; RELEASE: its name; LAUNCHER: the text of the release's own command, and PROGRAM the
# blob that it runs, if any; PROFILE: the profile that it is going to run with. That waits beside the one in force until
# it was verified.
verb_stage() {
  ours
  unpack_wheels
  make_runnable
  release="$ROOT/releases/$RELEASE"
  { [ -f "$release/release.list" ] && as_listed; } || assemble
  printf '%s\n' "$PROFILE" > "$release/.device.yaml" || fail "no space for the profile"
}

make_runnable() {
  [ -n "$PROGRAM" ] || return 0
  [ "$(hash_of "$ROOT/blobs/$PROGRAM" 2>/dev/null)" = "$PROGRAM" ] && chmod 555 "$ROOT/blobs/$PROGRAM" && return 0
  rm -f "$ROOT/blobs/$PROGRAM"
  say damaged "$PROGRAM"
  fail "the verifier has changed on the device's disk"
}

# Copies, no hard links: ONNX Runtime 1.32 refuses weights in a file that has a second name. Where the file system can, a
# copy shares its blocks with the blob.
assemble() {
  making="$ROOT/releases/.$RELEASE"
  rm -rf "$making"
  mkdir -p "$making" || fail "no space for the release"
  while read -r hash size path; do
    [ -n "$hash" ] || continue
    blob="$ROOT/blobs/$hash"
    [ -f "$blob" ] || { say damaged "$hash"; fail "blob $hash is missing"; }
    mkdir -p "$(dirname "$making/$path")"
    cp --reflink=auto "$blob" "$making/$path" 2>/dev/null || cp "$blob" "$making/$path" || fail "no space for $path"
    [ "$(hash_of "$making/$path")" = "$hash" ] || {
      say damaged "$hash"
      rm -f "$blob"
      fail "blob $hash has changed on the device's disk"
    }
  done << LIST
$LIST
LIST
  printf '%s\n' "$NAME" > "$making/name"
  printf '%s\n' "$LAUNCHER" > "$making/elsa-edge" && chmod 755 "$making/elsa-edge" || fail "no space for the launcher"
  printf '%s\n' "$LIST" > "$making/release.list" || fail "no space for the list"
  flush
  if [ -f "$release/release.list" ]; then
    # It is here and damaged, perhaps in service: each file is replaced by one rename.
    while read -r hash _ path; do
      [ -z "$hash" ] || mv -f "$making/$path" "$release/$path" || fail "the release cannot be put right"
    done < "$making/release.list"
    rm -rf "$making"
  else
    mv "$making" "$release" || fail "the release cannot be put in place"
  fi
}

# Runs the release's own command. It writes to files, so that a broken line cannot disturb it; then its JSON answer comes
# back in lines `@elsa json`, and its words on stderr.
run_elsa() {
  ELSA_EDGE_TRIAL=1 sh "$ROOT/releases/$RELEASE/elsa-edge" "$@" > "$ROOT/.answer.$TOKEN" 2> "$ROOT/.words.$TOKEN"
  result=$?
  while IFS= read -r line; do say json "$line"; done < "$ROOT/.answer.$TOKEN"
  tail -n 20 "$ROOT/.words.$TOKEN" >&2
  rm -f "$ROOT/.answer.$TOKEN" "$ROOT/.words.$TOKEN"
  return $result
}

serves_well() { [ "$(basename "$(readlink "$ROOT/current" 2>/dev/null)")" = "$1" ] && [ -f "$ROOT/releases/$1/good" ]; }

verb_intact() {
  release="$ROOT/releases/$RELEASE"
  as_listed && say intact yes
  return 0
}

# Once a device was told whom to trust it demands it of everybody: nobody who deploys can leave the demand out.
# TRUST: the keys that the profile brings; the first ones stay, others come by `device trust` alone.
verb_verify() {
  ours
  release="$ROOT/releases/$RELEASE"
  [ -n "$TRUST" ] && [ ! -f "$ROOT/trusted" ] && { printf '%s\n' "$TRUST" | put "$ROOT/trusted" || fail "no space for the keys"; }
  if [ -f "$ROOT/trusted" ]; then
    [ -n "$PYTHON" ] || { refuse; fail "this device trusts signed bundles only, and has no Python to check one"; }
    # What is in service was accepted before, also after a rollback: it may get another profile.
    set -- --counter "$ROOT/counter" --accept "$release/.accepted"
    serves_well "$RELEASE" && set --
    run_elsa verify "$release/bundle" --device "$release/.device.yaml" --json --require-signature "$ROOT/trusted" "$@" \
      || { refuse; fail "the release does not verify"; }
  elif [ -n "$PYTHON$PROGRAM" ]; then
    run_elsa verify "$release/bundle" --device "$release/.device.yaml" --json || { refuse; fail "the release does not verify"; }
  fi
  true > "$release/verified" || fail "no space"
}

# TRUST: whom to trust from now on.
verb_trust() {
  ours
  printf '%s\n' "$TRUST" | put "$ROOT/trusted" || fail "no space for the keys"
}

# A small file, whole or not at all.
put() { cat > "$1.$TOKEN" && mv "$1.$TOKEN" "$1"; }

# What did not verify is not kept, unless it was here before and served: in service now, or good and still as it was
# listed, such as an older release that somebody replays. The way back to it stays.
refuse() {
  release="$ROOT/releases/$RELEASE"
  if [ "$(basename "$(readlink "$ROOT/current" 2>/dev/null)")" = "$RELEASE" ] || { [ -f "$release/good" ] && as_listed; }; then
    rm -f "$release/.device.yaml" "$release/.accepted"
  else
    rm -rf "$release"
  fi
}

# Whether every file of $release is what its list says: cards wear out.
as_listed() {
  while read -r hash _ path; do
    [ "$(hash_of "$release/$path" 2>/dev/null)" = "$hash" ] || return 1
  done < "$release/release.list"
}

switch_to() {
  rm -f "$ROOT/.current.$TOKEN"
  ln -s "releases/$1" "$ROOT/.current.$TOKEN" || return 1
  # Android's mv takes the link for the folder that it leads to; its ln -f makes a new link and renames it over the old one.
  mv -fT "$ROOT/.current.$TOKEN" "$ROOT/current" 2>/dev/null || ln -sfn "releases/$1" "$ROOT/current" || return 1
  rm -f "$ROOT/.current.$TOKEN"
  flush
}

# Switch, make the first runs, and return by itself when they fail. A broken line does not stop it half-way.
verb_activate() {
  trap '' HUP PIPE
  ours
  release="$ROOT/releases/$RELEASE"
  [ -f "$release/verified" ] || fail "the release was not verified"
  old="$(basename "$(readlink "$ROOT/current" 2>/dev/null)")"
  if [ "$old" != "$RELEASE" ] || [ -f "$release/good" ]; then
    printf '%s\n' "$old" | put "$release/came_from" || fail "no space"
  fi
  [ -f "$release/device.yaml" ] && { cp "$release/device.yaml" "$release/.before.yaml" || fail "no space"; }
  [ -f "$release/.device.yaml" ] && mv "$release/.device.yaml" "$release/device.yaml"
  switch_to "$RELEASE" || fail "the switch failed"
  [ -z "$PYTHON$PROGRAM" ] || first_runs || back_from_trial
  accept
  flush
  collect
}

first_runs() {
  run_elsa run "$ROOT/current/bundle" --device "$ROOT/current/device.yaml" --seconds "$TRIAL_S" --json
}

# Called by the release's own command where the release is in service and was never marked good: power was lost in its
# first runs, or who deployed it has died. The device ends that by itself. A release that takes the machine down with it
# has two tries.
verb_prove() {
  trap '' HUP PIPE
  release="$ROOT/releases/$RELEASE"
  [ "$(lock_age)" -gt "$ABANDONED_S" ] && TAKE_FROM="$(first_of "$ROOT/lock/token")"
  take_lock || return 0
  if [ "$(basename "$(readlink "$ROOT/current")")" = "$RELEASE" ]; then
    printf x >> "$release/tries" && flush || fail "no space"
    if [ "$(size_of "$release/tries")" -le 2 ] && first_runs; then
      accept
      flush
    else
      (back_from_trial)
    fi
  fi
  verb_unlock
}

# Mark good: from now on it is what others return to, and nothing older is let in.
accept() {
  [ -f "$release/.accepted" ] && { put "$ROOT/counter" < "$release/.accepted" || fail "no space"; }
  before="$(first_of "$release/came_from")"
  [ -n "$before" ] && [ "$before" != "$RELEASE" ] && [ -f "$ROOT/releases/$before/good" ] && { printf '%s\n' "$before" | put "$ROOT/previous" || fail "no space"; }
  true > "$release/good" || fail "no space"
  rm -f "$release/.before.yaml" "$release/.accepted" "$release/tries"
}

back_from_trial() {
  before="$(first_of "$release/came_from")"
  if [ "$before" = "$RELEASE" ] && [ -f "$release/.before.yaml" ]; then
    mv "$release/.before.yaml" "$release/device.yaml"
    say rolled_back "$RELEASE"
    fail "the first runs failed"
  fi
  if [ -n "$before" ] && [ -f "$ROOT/releases/$before/release.list" ]; then
    switch_to "$before" || fail "the first runs failed, and the switch back too"
    say rolled_back "$before"
  else
    rm -f "$ROOT/current"
    say rolled_back ""
  fi
  if [ -f "$release/good" ]; then
    # It has served before: it is what it was, with the profile that it had.
    [ -f "$release/.before.yaml" ] && mv "$release/.before.yaml" "$release/device.yaml"
    rm -f "$release/.accepted" "$release/tries"
  else
    rm -rf "$release"
  fi
  fail "the first runs failed"
}

verb_rollback() {
  trap '' HUP PIPE
  ours
  to="$(first_of "$ROOT/previous")"
  [ -n "$to" ] && [ -f "$ROOT/releases/$to/good" ] || fail "there is no earlier release"
  from="$(basename "$(readlink "$ROOT/current")")"
  [ "$from" != "$to" ] || fail "the earlier release is already in service"
  release="$ROOT/releases/$to"
  as_listed || fail "the earlier release is damaged on the device's disk; deploy the one you want"
  RELEASE="$to"
  [ ! -f "$ROOT/trusted" ] || trusted_still || fail "none of the keys that this device trusts has signed the earlier release"
  switch_to "$to" || fail "the switch failed"
  printf '%s\n' "$from" | put "$ROOT/previous"
  say current "$to"
}

# Whether the keys that are trusted today have signed $release. Its counter is not asked: going back is what is wanted.
trusted_still() {
  run_elsa python - "$release/bundle" "$ROOT/trusted" << 'SIGNED'
import pathlib, sys
from elsa_edge.bundle.signature import check_signature
from elsa_edge.errors import ElsaError
try:
    check_signature(pathlib.Path(sys.argv[1]), [sys.argv[2]])
except ElsaError as error:
    sys.exit(str(error))
SIGNED
}

# Asks the release in service for its hashes and, where there is something to run it with, for its numbers.
verb_prove_again() {
  ours
  RELEASE="$(basename "$(readlink "$ROOT/current" 2>/dev/null)")"
  release="$ROOT/releases/$RELEASE"
  [ -n "$RELEASE" ] && [ -d "$release" ] || fail "no release is in service"
  as_listed || fail "the release in service is damaged on the device's disk; deploy it again"
  run_elsa verify "$release/bundle" --device "$release/device.yaml" --json || fail "the release in service does not verify"
  say current "$RELEASE"
}

# Keep the newest KEEP releases, always those in service and to return to; then drop what no release refers to.
collect() {
  current="$(basename "$(readlink "$ROOT/current")")"
  previous="$(first_of "$ROOT/previous")"
  number=0
  for release in $(ls -1t "$ROOT/releases"); do
    number=$((number + 1))
    case "$release" in
      "$current" | "$previous") ;;
      *) [ "$number" -le "$KEEP" ] || rm -rf "$ROOT/releases/$release" ;;
    esac
  done
  rm -rf "$ROOT"/releases/.[0-9a-f]* "$ROOT"/python/.[0-9a-f]* "$ROOT"/incoming/* "$ROOT"/.answer.* "$ROOT"/.words.* "$ROOT"/.current.* "$ROOT"/.making.* "$ROOT"/.lock.*
  cat "$ROOT"/releases/*/release.list 2>/dev/null | cut -c 1-64 | sort -u > "$ROOT/.needed"
  cat "$ROOT"/releases/*/elsa-edge 2>/dev/null | grep -o '/python/[0-9a-f]*' | cut -c 9- | sort -u > "$ROOT/.wheels"
  cat "$ROOT"/releases/*/elsa-edge 2>/dev/null | grep -o '/blobs/[0-9a-f]*' | cut -c 8- >> "$ROOT/.needed"
  for blob in "$ROOT"/blobs/*; do
    [ -f "$blob" ] && ! grep -q "^$(basename "$blob")" "$ROOT/.needed" && rm -f "$blob"
  done
  for wheel in "$ROOT"/python/*; do
    [ -d "$wheel" ] && ! grep -q "^$(basename "$wheel")" "$ROOT/.wheels" && rm -rf "$wheel"
  done
  rm -f "$ROOT/.needed" "$ROOT/.wheels"
  return 0
}

# Measure in a copy of the profile; it replaces the release's profile when it is complete.
verb_measure() {
  ours
  release="$ROOT/releases/$RELEASE"
  run_elsa profile "$release/bundle" --device "$release/device.yaml" -o "$release/.measured.yaml" --seconds "$SECONDS_EACH" --json \
    || { rm -f "$release/.measured.yaml"; fail "measuring failed"; }
  mv "$release/.measured.yaml" "$release/device.yaml"
  while IFS= read -r line; do say profile "$line"; done < "$release/device.yaml"
}

verb_remove() {
  ours
  rm -rf "$ROOT/current" "$ROOT/releases" "$ROOT/blobs" "$ROOT/python" "$ROOT/incoming" "$ROOT/previous"
  rm -f "$ROOT/trusted" "$ROOT/counter"
  rm -rf "$ROOT/lock"
  rm -f "$ROOT/.store"
  rmdir "$ROOT" 2>/dev/null
  return 0
}

elsa_main() {
  LC_ALL=C
  export LC_ALL
  umask 022
  case "$ROOT" in
    /*) ;;
    *) ROOT="$HOME/$ROOT" ;;
  esac
  "verb_$VERB" < /dev/null
  result=$?
  say end "$result"
  exit $result
}
elsa_main
