/*
 * vmm image: what is kept of container images, and images of file systems made from directories and archives.
 */
#pragma once

/* argv[0] is "image". Returns the exit status. */
int image_main(int argc, char **argv);
