# Run inside a fresh Debian with the package once it has started; says what does not hold, or "all is well".
set -u
state=$1

no() {
    echo "$1"
    systemctl --no-pager --lines=20 status 'siding-*'
    exit 1
}

# A unit that failed is seen before anything else is asked.
failed=$(systemctl --failed --plain --no-legend list-units 'siding-*')
[ -z "$failed" ] || no "failed: $failed"

case $state in
nothing)
    for unit in siding-boot.service siding-health.service siding-deadline.timer; do
        [ "$(systemctl show -p ConditionResult --value $unit)" = no ] || no "$unit ran without a store"
    done
    systemctl -q is-active siding-agent.timer || no "the agent's timer does not wait"
    systemctl start siding-agent-once.service || no "a pass without a store failed"
    # What the next start finds.
    echo base >/image
    siding init demo /image --version 1 || no "there is no store"
    systemctl start siding-deadline.timer
    systemctl -q is-active siding-deadline.timer || no "nobody looks for deadlines"
    ;;
store)
    systemctl -q is-active siding-boot.service || no "siding boot was not called"
    [ "$(systemctl show -p Result --value siding-health.service)" = success ] || no "health failed"
    systemctl -q is-active siding-deadline.timer || no "nobody looks for deadlines"
    systemctl start siding-agent-once.service || no "a pass without a repository failed"
    siding status | grep -q demo || no "the store is not as it was"
    # The hook for the desktop: a session of somebody's, and a program in the place of notify-send that notes its call.
    useradd --create-home somebody || no "there is nobody"
    uid=$(id -u somebody)
    mkdir -p "/run/user/$uid" && chown "$uid" "/run/user/$uid"
    setpriv --reuid="$uid" --regid="$uid" --clear-groups \
        dbus-daemon --session --fork --address="unix:path=/run/user/$uid/bus" || no "no session"
    printf '#!/bin/sh\necho "$(id -u) $DBUS_SESSION_BUS_ADDRESS $*" >/home/somebody/told\n' >/usr/local/bin/notify-send
    chmod 755 /usr/local/bin/notify-send
    SIDING_WHAT=install SIDING_RELEASE=r1 SIDING_TEXT='two libraries' /usr/lib/siding/notify || no "the hook failed"
    told=$(cat /home/somebody/told)
    [ "${told#"$uid unix:path=/run/user/$uid/bus "}" != "$told" ] || no "told as somebody else: $told"
    [ "${told%-- Security update installed r1: two libraries}" != "$told" ] || no "told something else: $told"
    ;;
esac
echo "all is well"
