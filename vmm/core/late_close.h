/*
 * Closing a file whose end takes the kernel long.
 *
 * Owner: the descriptor is taken over, whatever happens. Any thread may call this, one for each descriptor.
 */
#pragma once

/*
 * Closes fd. Where this was the last reference and io_uring is there (Linux 5.5), a thread of the kernel does away with the
 * file, soon but not at once, and nobody waits for it, not even when the process ends; otherwise the caller does. Not for
 * what the next start may need, such as locks or a TAP's name. What the file's end would undo in the memory of its process
 * (KVM has mapped pages there, on Intel's CPUs) stays until the process ends.
 */
void late_close(int fd);
