#!/bin/sh
# Makes the golden files of this directory with the real tools: grub-editenv (GRUB 2.06) and fw_setenv (libubootenv
# 0.3.2, Debian 12). They were made once and are not made again: tests read them as they are.
set -eu
cd "$(dirname "$0")"

rm -f grub.env
grub-editenv grub.env create
grub-editenv grub.env set saved_entry=0 'title=back\slash = and
two lines' boot_success=1
grub-editenv grub.env set siding_rootfs_slot=a siding_rootfs_back=base siding_rootfs_tries=3 siding_rootfs_turn=7
grub-editenv grub.env set next_entry=

# Two copies of 8 KiB in one file, written four times, so that the flags are 4 and 3; and one copy of 8 KiB.
work=$(mktemp -d)
printf 'bootcmd=run siding\nbootdelay=2\nethaddr=02:00:00:00:00:01\n' > "$work/defaults"
printf '%s/two.env 0x0 0x2000\n%s/two.env 0x4000 0x2000\n' "$work" "$work" > "$work/two.config"
printf '%s/one.env 0x0 0x2000\n' "$work" > "$work/one.config"
truncate -s 24K "$work/two.env"
truncate -s 8K "$work/one.env"
for kind in two one; do
  tool() { fw_setenv -c "$work/$kind.config" -f "$work/defaults" "$@"; }
  tool siding_rootfs_slot a
  tool siding_rootfs_back base
  tool siding_rootfs_tries 3
  tool siding_rootfs_turn 7
  mv "$work/$kind.env" "uboot-$kind.env"
done
rm -r "$work"
