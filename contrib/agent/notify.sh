#!/bin/sh
# An example of a hook: tells everybody who is logged in on the desktop what the agent did.
#
#   install -D -m 755 notify.sh /usr/lib/siding/notify     (the Debian package has done so)
#   hook = "/usr/lib/siding/notify"          (in /etc/siding/agent.toml)
#
# In its environment: SIDING_WHAT (install, stage, leave or fail), SIDING_RELEASE, SIDING_TEXT, SIDING_CODE (why, if
# there is a reason), SIDING_STORE. It has 30 seconds; what becomes of it changes nothing.
set -u

case ${SIDING_WHAT:-} in
install) title="Security update installed" urgency=low ;;
stage) title="Security update ready: restart to use it" urgency=normal ;;
leave) title="Security update taken back" urgency=normal ;;
# Tried again by itself; `siding list` says when.
*) exit 0 ;;
esac

# Each session bus by its socket, as its user.
for bus in /run/user/*/bus; do
    [ -S "$bus" ] || continue
    uid=$(stat -c %u "$bus") || continue
    [ "$uid" -ge 1000 ] || continue
    setpriv --reuid="$uid" --regid="$(stat -c %g "$bus")" --clear-groups \
        env DBUS_SESSION_BUS_ADDRESS="unix:path=$bus" \
        notify-send --app-name=Siding --urgency="$urgency" -- "$title" "${SIDING_RELEASE:-}: ${SIDING_TEXT:-}" || :
done
