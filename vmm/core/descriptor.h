/*
 * Descriptors that others of the process, or a child of it, may have to do with.
 *
 * Any thread.
 */
#pragma once

/*
 * Whatever is opened from now on is none of 0 to 2: a program started without these must not get /dev/kvm or a disk as its standard
 * output. Where one is closed, /dev/null is opened, and stays.
 */
void descriptor_hold_standard(void);

/*
 * Nothing is read from the connected socket any more. Whoever writes to it is told: at once when blocked in that, and, as what was sent
 * before is thrown away, when waiting in poll() for room. Does not block.
 */
void descriptor_deafen(int fd);

/*
 * Closes a socket, connected or listening, whose other end shall see that now: a child that was forked may have a copy of it, for as
 * long as it executes no program. It sees the end and no error, whatever it had sent. A negative number is none.
 */
void descriptor_hang_up(int fd);
