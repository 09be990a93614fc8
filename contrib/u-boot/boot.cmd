# U-Boot follows Siding's record: which slot to boot, how often to try it, and where to go when it fails.
#
# How to use it
# 1. Build U-Boot with CONFIG_CMD_SETEXPR, CONFIG_CMD_SAVEENV and an environment in two copies
#    (CONFIG_SYS_REDUNDAND_ENVIRONMENT, CONFIG_ENV_REDUNDANT in later versions), so that a power cut leaves a whole one.
# 2. Tell Siding where it lies, with the numbers of /etc/fw_env.config, in STORE/projections.toml:
#      [[projection]]
#      component = "rootfs"
#      kind = "uboot"
#      file = "/dev/mmcblk0"
#      offset = 0x100000
#      size = 0x4000
#      second_offset = 0x140000
#    On raw flash (/dev/mtd…) use kind = "command" with fw_setenv instead: it has to be erased.
# 3. Change the lines under "Boot" to your board, then
#      mkimage -A arm64 -O linux -T script -C none -d boot.cmd boot.scr
#    and put boot.scr where U-Boot looks for it.
#
# It is written for a component `rootfs`. For another one put its name in place of `rootfs`, with _ for each character
# that is no letter, digit or _; for several, repeat the part "Count" and give each an argument.
#
# What lies in the environment. Siding writes all of it; this script only ever changes _tries.
#   siding_rootfs_slot     the active slot: base, a or b
#   siding_rootfs_back     where a failed trial goes
#   siding_rootfs_tries    how many more boots the slot gets, 0 to 9; unset when it is not on trial
#   siding_rootfs_turn     grows whenever the active slot changes; only handed on here, so that a switch that was not
#                          heard of is not taken for one that was given up
#
# Safe at every moment: the lowered count is stored before the slot is booted. If it cannot be stored, the slot on
# trial is not booted, since nothing would end its trial; the way back is.

# Count
setenv siding_boot
if test -n "${siding_rootfs_tries}"; then
  if test "${siding_rootfs_tries}" = "0"; then
    echo "siding: no tries left for slot ${siding_rootfs_slot}, going back to ${siding_rootfs_back}"
    setenv siding_boot "${siding_rootfs_back}"
  else
    setexpr siding_rootfs_tries ${siding_rootfs_tries} - 1
    if saveenv; then
      echo "siding: slot ${siding_rootfs_slot} on trial, tries left after this one: ${siding_rootfs_tries}"
    else
      echo "siding: cannot store the environment, so no trial; booting slot ${siding_rootfs_back}"
      setenv siding_boot "${siding_rootfs_back}"
    fi
  fi
fi
if test -z "${siding_boot}"; then
  setenv siding_boot "${siding_rootfs_slot}"
fi
# Nothing is known yet: the first boot of a new device. Without a base, write a here.
if test -z "${siding_boot}"; then
  setenv siding_boot base
fi

# Boot
# Siding learns from siding.rootfs=SLOT:TURN what was booted, and by which order; without it a fall back goes unnoticed.
# `panic=10` lets a kernel that panics start over, and a watchdog one that hangs.
setenv siding_arg "siding.rootfs=${siding_boot}"
if test -n "${siding_rootfs_turn}"; then
  setenv siding_arg "${siding_arg}:${siding_rootfs_turn}"
fi
if test "${siding_boot}" = "base"; then setenv siding_part 2; fi
if test "${siding_boot}" = "a"; then setenv siding_part 3; fi
if test "${siding_boot}" = "b"; then setenv siding_part 4; fi
setenv bootargs "root=/dev/mmcblk0p${siding_part} ro rootwait panic=10 ${siding_arg}"
load mmc 0:${siding_part} ${kernel_addr_r} /boot/Image
load mmc 0:${siding_part} ${fdt_addr_r} /boot/board.dtb
booti ${kernel_addr_r} - ${fdt_addr_r}
# What cannot be loaded gets its next try by a new start.
reset
