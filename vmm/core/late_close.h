/*
 * Closing a file whose end takes the kernel long, without waiting for it.
 *
 * Owner: the caller has both descriptors. Any thread.
 */
#pragma once

/*
 * Returns a descriptor that holds fd's file, and that of other if it is not negative. When it is closed after fd, and these were the last
 * references, a thread of the kernel does away with the file, soon but not at once, and nobody waits for it, not even when the process ends. Negative where
 * the kernel has no such thing (io_uring of Linux 5.10), or not for us; then the end of fd waits. Not for what the next start
 * may need, such as locks or a TAP's name. What the file's end would undo in the memory of its process (KVM has mapped pages
 * there, on Intel's CPUs) stays until the process ends.
 */
int late_close_hold(int fd, int other);
