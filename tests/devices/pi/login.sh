# Stands in for getty and login on a console: asks for user and password, then is that user's shell.
# /etc/edgeq-test/noise: the kernel talks, in between.
(while :; do
  sleep 0.3
  [ -e /etc/edgeq-test/noise ] && printf '\r\n[  12.345678] usb 1-1: new high-speed USB device\r\n'
done) &
while :; do
  stty sane
  printf '\nDebian GNU/Linux 12 raspberrypi ttyAMA0\n\nraspberrypi login: '
  read -r user || exit
  stty -echo
  printf 'Password: '
  read -r password || exit
  stty echo
  echo
  if [ "$user" = pi ] && [ "$password" = 'rasp berry$1' ]; then
    printf 'Last login: Tue Nov 24 12:00:00 UTC 2026 on ttyAMA0\n'
    cd /home/pi
    setpriv --reuid=1000 --regid=1000 --clear-groups env -i HOME=/home/pi USER=pi LOGNAME=pi \
      TERM=vt100 QEMU_CPU="$QEMU_CPU" PATH=/usr/local/bin:/usr/bin:/bin bash --login
  else
    sleep 1
    printf 'Login incorrect\n'
  fi
done
