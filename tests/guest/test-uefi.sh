#!/usr/bin/env bash
# A guest that is not Linux: UEFI firmware (Debian's build of edk2), in QEMU under emulation. Its shell runs
# startup.nsh, which lies in the share, and makes, writes, copies, renames, lists and deletes there. The result
# is looked at on the host, and what the firmware printed.
#   UEFI  x86_64 (default) or aarch64
UEFI=${UEFI:-x86_64}
GUEST_KERNEL=x86_64-7 # for its QEMU, which has both machines
. "$(dirname "$0")/lib.sh"

case $UEFI in
x86_64)
    code=/usr/share/OVMF/OVMF_CODE_4M.fd vars=/usr/share/OVMF/OVMF_VARS_4M.fd package=ovmf
    machine=(-M "q35,memory-backend=mem" -cpu max)
    ;;
aarch64)
    code=/usr/share/AAVMF/AAVMF_CODE.fd vars=/usr/share/AAVMF/AAVMF_VARS.fd package=qemu-efi-aarch64
    machine=(-M "virt,memory-backend=mem" -cpu cortex-a57)
    ;;
*) skip "no firmware for $UEFI" ;;
esac
[ -r "$code" ] && [ -r "$vars" ] || skip "no $code (Debian package $package)"
setup
lib=$QEMU_CACHE/root/usr/lib/x86_64-linux-gnu

# firmware NAME [OPTION]…: one boot on a daemon for $T/NAME with these options; what it prints is in $T/NAME.out.
firmware() {
    local name=$1 dir=$T/$1
    shift
    daemon "$name" "$dir" "$@"
    cp "$vars" "$T/$name.vars"
    # shellcheck disable=SC2054 # the commas are QEMU's
    QEMU_MODULE_DIR=$lib/qemu timeout -k 5 120 "$lib/ld-linux-x86-64.so.2" --library-path "$lib" \
        "$QEMU_CACHE/root/usr/bin/qemu-system-$UEFI" -L "$QEMU_CACHE/root/usr/share/qemu" \
        "${machine[@]}" -accel tcg,thread=multi -m 256M -object memory-backend-memfd,id=mem,size=256M,share=on \
        -nodefaults -no-user-config -display none -no-reboot \
        -chardev "file,id=out,path=$T/$name.raw" -serial chardev:out \
        -drive "if=pflash,format=raw,readonly=on,file=$code" -drive "if=pflash,format=raw,file=$T/$name.vars" \
        -chardev "socket,id=c0,path=$T/$name.sock" \
        -device "vhost-user-fs-pci,chardev=c0,tag=$name,queue-size=128" </dev/null >"$T/$name.qemu" 2>&1
    # Colours, cursor movements and carriage returns.
    sed 's/\x1b\[[0-9;=]*[A-Za-z]//g' "$T/$name.raw" 2>/dev/null | tr -d '\r' >"$T/$name.out"
}
said() { grep -q -- "$2" "$T/$1.out"; }
unsaid() { ! said "$@"; }

put() {
    mkdir -p "$1"
    echo "from the host" >"$1/host.txt"
    for ((i = 0; i < 60; i++)); do : >"$1/many-$i.txt"; done
    head -c 300000 /dev/urandom >"$1/big.bin"
    # In the shell's language; lines end as it likes them.
    sed 's/$/\r/' >"$1/startup.nsh" <<'NSH'
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
reset -s
NSH
}

put "$T/share"
firmware share
check "the firmware ran the share's startup.nsh to its end" said share '^DONE'
check "what is not there is not found" unsaid share WRONG
check "and listing it says so" said share 'ls: File Not Found'
check "a host's file is read" said share '^from the host'
check "what was written is read back" said share '^again'
check "a copied file compares equal" said share 'Compare passed\|No differences\|no differences'
sed -n '/^LIST$/,/^LISTED$/p' "$T/share.out" >"$T/list"
listed() { grep -q -- "$1\$" "$T/list"; }
for entry in '<DIR>.* \.' '<DIR>.* \.\.' '<DIR>.* sub' ' 14 *a.txt' ' 300,000 *big.bin'; do
    check "a line of a listing: $entry" listed "$entry"
done
equal "all of many names are listed" 60 "$(grep -c 'many-[0-9]*\.txt' "$T/share.out")"

equal "the directory was made on the host" "directory" "$(stat -c %F "$T/share/d" 2>&1)"
check "the big copy is the same" cmp "$T/share/big.bin" "$T/share/d/big.bin"
equal "the renamed file has its new name and size" 3 "$(stat -c %s "$T/share/d/sub/c.txt" 2>&1)"
equal "and is read-only" 444 "$(stat -c %a "$T/share/d/sub/c.txt" 2>&1)"
check "its old names are gone" test ! -e "$T/share/d/b.txt" -a ! -e "$T/share/d/c.txt"
check "the deleted file is gone" test ! -e "$T/share/d/a.txt"
check "the deleted directory is gone" test ! -e "$T/share/gone"
check "a new file in the root" grep -q y "$T/share/host-over.txt"
check "the daemon ends with its guest, code 0" daemon_wait share
[ "$FAILED" = 0 ] || sed -n '/many-/d;s/^/# /p' "$T/share.out" | tail -n 100
finish
