#!/usr/bin/env bash
# A guest that is not Linux: UEFI firmware (Debian's build of edk2), in QEMU under emulation. Its shell runs
# startup.nsh, which lies in the share, and makes, writes, copies, renames, lists and deletes there. The result
# is looked at on the host, and what the firmware printed. At the end it boots a Linux kernel from the share,
# which mounts where it came from: the firmware resets the device when it hands over.
#   UEFI  x86_64 (default) or aarch64
UEFI=${UEFI:-x86_64}
GUEST_KERNEL=$UEFI-7
. "$(dirname "$0")/lib.sh"

case $UEFI in
x86_64)
    code=/usr/share/OVMF/OVMF_CODE_4M.fd vars=/usr/share/OVMF/OVMF_VARS_4M.fd package=ovmf
    machine=(-M "q35,memory-backend=mem" -cpu max) console='ttyS0 no_timer_check'
    ;;
aarch64)
    code=/usr/share/AAVMF/AAVMF_CODE.fd vars=/usr/share/AAVMF/AAVMF_VARS.fd package=qemu-efi-aarch64
    machine=(-M "virt,memory-backend=mem" -cpu cortex-a57) console=ttyAMA0
    ;;
*) skip "no firmware for $UEFI" ;;
esac
[ -r "$code" ] && [ -r "$vars" ] || skip "no $code (Debian package $package)"
setup
lib=$QEMU_CACHE/root/usr/lib/x86_64-linux-gnu

said() { grep -q -- "$1" "$T/out"; }
unsaid() { ! said "$@"; }

echo "from the host" >"$T/share/host.txt"
for ((i = 0; i < 60; i++)); do : >"$T/share/many-$i.txt"; done
head -c 300000 /dev/urandom >"$T/share/big.bin"
cp "$QEMU_CACHE/kernels/$GUEST_KERNEL/vmlinuz" "$T/share/vmlinuz.efi"
cp "$T/initramfs" "$T/share/initrd"
# In the shell's language; lines end as it likes them.
sed "s/\$/\r/; s/CONSOLE/$console/" >"$T/share/startup.nsh" <<'NSH'
@echo -off
fs0:
echo STARTED
if exist absent.txt then
  echo WRONG absent.txt is there
endif
ls absent.txt
mkdir d
mkdir d\sub
echo hello >a d\a.txt
echo again >>a d\a.txt
type d\a.txt
cp d\a.txt d\b.txt
cp big.bin d\big.bin
comp big.bin d\big.bin
mv d\b.txt d\c.txt
mv d\c.txt d\sub\c.txt
setsize 3 d\sub\c.txt
attrib +r d\sub\c.txt
type host.txt
echo LIST
ls d
echo LISTED
ls many-*.txt -sfo
rm d\a.txt
mkdir gone
echo x >a gone\x
rm -q gone
echo y >a host-over.txt
vol
echo DONE
vmlinuz.efi initrd=\initrd console=CONSOLE quiet loglevel=1 panic=-1 ctl=9p
reset -s
NSH

# What Linux does then.
mkdir "$T/linux"
cat "$GUEST/guest-lib.sh" - >"$T/linux/job" <<'END'
share share /mnt
equal "Linux reads what the firmware wrote" y "$(tr -d '\r' </mnt/host-over.txt)"
check "an absent name, twice, and then it is made" \
    sh -c 'test ! -e /mnt/new && test ! -e /mnt/new && echo x >/mnt/new && test -e /mnt/new'
check "umount" umount /mnt
END

daemon share "$T/share"
cp "$vars" "$T/vars"
# shellcheck disable=SC2054 # the commas are QEMU's
QEMU_MODULE_DIR=$lib/qemu timeout -k 5 150 "$lib/ld-linux-x86-64.so.2" --library-path "$lib" \
    "$QEMU_CACHE/root/usr/bin/qemu-system-$UEFI" -L "$QEMU_CACHE/root/usr/share/qemu" \
    "${machine[@]}" -accel tcg,thread=multi -m 512M -object memory-backend-memfd,id=mem,size=512M,share=on \
    -nodefaults -no-user-config -display none -no-reboot \
    -chardev "file,id=out,path=$T/raw" -serial chardev:out \
    -drive "if=pflash,format=raw,readonly=on,file=$code" -drive "if=pflash,format=raw,file=$T/vars" \
    -chardev "socket,id=c0,path=$T/share.sock" -device vhost-user-fs-pci,chardev=c0,tag=share,queue-size=128 \
    -fsdev "local,id=f0,path=$T/linux,security_model=passthrough" -device virtio-9p-pci,fsdev=f0,mount_tag=ctl \
    </dev/null >"$T/qemu.log" 2>&1
# Colours, cursor movements and carriage returns.
sed 's/\x1b\[[0-9;=]*[A-Za-z]//g' "$T/raw" 2>/dev/null | tr -d '\r' >"$T/out"

check "the firmware ran the share's startup.nsh to its end" said '^DONE'
check "what is not there is not found" unsaid WRONG
check "and listing it says so" said 'ls: File Not Found'
check "a host's file is read" said '^from the host'
check "what was written is read back" said '^again'
check "a copied file compares equal" said 'Compare passed\|No differences\|no differences'
sed -n '/^LIST$/,/^LISTED$/p' "$T/out" >"$T/list"
listed() { grep -q -- "$1\$" "$T/list"; }
for entry in '<DIR>.* \.' '<DIR>.* \.\.' '<DIR>.* sub' ' 14 *a.txt' ' 300,000 *big.bin'; do
    check "a line of a listing: $entry" listed "$entry"
done
equal "all of many names are listed" 60 "$(grep -c 'many-[0-9]*\.txt' "$T/out")"

equal "the directory was made on the host" "directory" "$(stat -c %F "$T/share/d" 2>&1)"
check "the big copy is the same" cmp "$T/share/big.bin" "$T/share/d/big.bin"
equal "the renamed file has its new name and size" 3 "$(stat -c %s "$T/share/d/sub/c.txt" 2>&1)"
equal "and is read-only" 444 "$(stat -c %a "$T/share/d/sub/c.txt" 2>&1)"
check "its old names are gone" test ! -e "$T/share/d/b.txt" -a ! -e "$T/share/d/c.txt"
check "the deleted file is gone" test ! -e "$T/share/d/a.txt"
check "the deleted directory is gone" test ! -e "$T/share/gone"
check "a new file in the root" grep -q y "$T/share/host-over.txt"

grep -a '^\(not \)\?ok ' "$T/out" >"$T/lines"
count_lines "$T/lines"
equal "a kernel booted from the share runs to its end" 0 "$(cat "$T/linux/exit" 2>&1)"
equal "the host has what Linux made" x "$(cat "$T/share/new" 2>&1)"
equal "the firmware mounted, then Linux" "not Linux, Linux" \
    "$(sed -n 's/.*guest mounted: .*, not Linux/not Linux,/p; s/.*guest mounted: .*/Linux/p' "$T/share.log" | tr '\n' ' ' | sed 's/ $//')"
check "the daemon ends with them, code 0" daemon_wait share
[ "$FAILED" = 0 ] || sed -n '/many-/d;s/^/# /p' "$T/out" | tail -n 120
finish
