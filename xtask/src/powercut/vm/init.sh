#!/bin/busybox sh
# The first process of the virtual machine: mounts, says READY, and does what the host asks for, line by line.
# It decides nothing. Each answer ends with a line `DONE n`, n being the exit code.
B=/bin/busybox
$B mkdir -p /proc /sys /dev /data /boot /root-slot /tmp
$B mount -t proc proc /proc
$B mount -t sysfs sysfs /sys
$B mount -t devtmpfs dev /dev
$B --install -s /bin
export PATH=/bin SIDING_STORE=/data/store SIDING_TRUST=/data/key.pub RAYON_NUM_THREADS=2
stty -F /dev/ttyS0 raw -echo
echo 4 > /proc/sys/kernel/printk
disk=/dev/nvme0n1
for i in 1 2 3 4 5 6 7 8 9 10; do [ -b ${disk}p3 ] && break; sleep 0.1; done
mount -t ext4 -o data=ordered ${disk}p3 /data || echo "FACT broken data does not mount"
if [ -b ${disk}p2 ]; then mount -t ext4 ${disk}p2 /boot || echo "FACT broken boot does not mount"; fi
mkdir -p /tmp && mount -t tmpfs tmpfs /tmp

# The bytes of every slot, and where `current` leads.
sums() {
    for dir in /data/store/components/*; do
        for slot in base a b; do
            [ -f $dir/$slot/image ] && echo "FACT sum ${dir##*/} $slot $(sha256sum < $dir/$slot/image)"
        done
        echo "FACT current ${dir##*/} $(readlink /data/store/current/${dir##*/})"
    done
}

# What the loader chose, and what is in the partition it chose.
booted() {
    slot=$(sed -n 's/.*siding\.rootfs=\([a-z]*\).*/\1/p' /proc/cmdline)
    echo "FACT booted ${slot:-none}"
    echo "FACT turn $(sed -n 's/.*siding\.rootfs=[a-z]*:\([0-9]*\).*/\1/p' /proc/cmdline)"
    case $slot in
        a) mount -t ext4 -o ro ${disk}p4 /root-slot ;;
        b) mount -t ext4 -o ro ${disk}p5 /root-slot ;;
    esac
    [ -f /root-slot/version ] && echo "FACT version $(cat /root-slot/version)"
    for pair in a:4 b:5; do
        echo "FACT part ${pair%:*} $(sha256sum < ${disk}p${pair#*:})"
    done
}

environment() {
    echo "FACT env $(head -c 1024 /boot/grub/siding.env | tr '\n' '|')"
}

echo
echo READY
while read -r verb rest; do
    echo "DOING $verb $rest"
    case $verb in
        siding) eval "siding $rest" > /tmp/out 2>&1; code=$?; sed 's/^/OUT /' /tmp/out ;;
        status) siding status --json > /tmp/out 2>&1; code=$?; echo "FACT status $(tr -d '\n' < /tmp/out)" ;;
        log) tail -n +$((rest + 1)) /data/store/log | sed 's/^/FACT log /'; code=$? ;;
        told) echo "FACT told $(head -n $rest /data/store/log | sha256sum)"; code=$? ;;
        sums) sums; code=$? ;;
        booted) booted; code=$? ;;
        env) environment; code=$? ;;
        sh) (eval "$rest") > /tmp/out 2>&1; code=$?; sed 's/^/OUT /' /tmp/out ;;
        reboot) reboot -n -f ;;
        *) code=127 ;;
    esac
    echo "DONE $code"
done
reboot -n -f
