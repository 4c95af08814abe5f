# `cpack -G DEB` in the build folder: packages vmm and libvmm-dev. Version, maintainer and time are those of the changelog's first entry,
# so that the same sources make the same packages; SOURCE_DATE_EPOCH sets another time. The revision is below that of a package of
# Debian's own, if there ever is one.
find_program(VMM_DPKG_SHLIBDEPS dpkg-shlibdeps)
mark_as_advanced(VMM_DPKG_SHLIBDEPS)
# Packages are of the program as users of Debian want it.
if(NOT VMM_DPKG_SHLIBDEPS OR VMM_STATIC OR VMM_SANITIZE OR VMM_COVERAGE)
	return()
endif()

set(debian ${PROJECT_SOURCE_DIR}/packaging/debian)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${debian}/changelog)
file(READ ${debian}/changelog changelog)
string(REGEX MATCH "^vmm \\(([0-9.]+)-([^)]+)\\)" head "${changelog}")
set(upstream ${CMAKE_MATCH_1})
set(release ${CMAKE_MATCH_2})
string(REGEX MATCH "\n -- ([^\n]*>)  ([^\n]*)\n" tail "${changelog}")
set(maintainer ${CMAKE_MATCH_1})
set(date ${CMAKE_MATCH_2})
if(NOT upstream STREQUAL PROJECT_VERSION)
	message(FATAL_ERROR "packaging/debian/changelog is of version ${upstream}, the project of ${PROJECT_VERSION}")
endif()
execute_process(COMMAND date -u -d ${date} +%s OUTPUT_VARIABLE VMM_PACKAGE_TIME OUTPUT_STRIP_TRAILING_WHITESPACE)

# What packages have in a form of their own.
set(made ${PROJECT_BINARY_DIR}/packaging)
# vmm_packed(OUTPUT INPUT) - the file, packed
function(vmm_packed output input)
	add_custom_command(OUTPUT ${made}/${output} COMMAND sh -c "gzip -9nc '${input}' >'${made}/${output}'" DEPENDS ${input} VERBATIM)
endfunction()
vmm_packed(vmm.1.gz ${PROJECT_SOURCE_DIR}/docs/vmm.1)
vmm_packed(changelog.Debian.gz ${debian}/changelog)
add_custom_command(OUTPUT ${made}/libvmm.a
	COMMAND ${CMAKE_OBJCOPY} -D --strip-debug -R .comment $<TARGET_FILE:libvmm> ${made}/libvmm.a DEPENDS libvmm VERBATIM)
add_custom_target(packaging ALL DEPENDS ${made}/vmm.1.gz ${made}/changelog.Debian.gz ${made}/libvmm.a)

# install(), but for packages alone
function(vmm_package_install package files to)
	install(FILES ${files} DESTINATION ${to} COMPONENT debian_${package} EXCLUDE_FROM_ALL)
	install(FILES ${made}/changelog.Debian.gz ${debian}/copyright DESTINATION share/doc/${package}
		COMPONENT debian_${package} EXCLUDE_FROM_ALL)
endfunction()
vmm_package_install(vmm ${made}/vmm.1.gz share/man/man1)
# Where cross compilers find it.
set(libdir lib/${CMAKE_LIBRARY_ARCHITECTURE})
vmm_pc(/usr /usr/${libdir} /usr/include /usr/${libdir}/pkgconfig ${made}/vmm.pc)
vmm_package_install(libvmm-dev ${made}/libvmm.a ${libdir})
install(FILES ${made}/vmm.pc DESTINATION ${libdir}/pkgconfig COMPONENT debian_libvmm-dev EXCLUDE_FROM_ALL)

set(CPACK_PACKAGE_NAME vmm)
set(CPACK_PACKAGE_VENDOR vmm)
set(CPACK_PACKAGE_CONTACT ${maintainer})
set(CPACK_COMPONENTS_ALL program debian_vmm development debian_libvmm-dev)
set(CPACK_STRIP_FILES ON)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_PACKAGE_RELEASE ${release})
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${maintainer})
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_PROJECT_CONFIG_FILE ${made}/cpack.cmake)
file(WRITE ${made}/cpack.cmake "if(\"\$ENV{SOURCE_DATE_EPOCH}\" STREQUAL \"\")
	set(ENV{SOURCE_DATE_EPOCH} ${VMM_PACKAGE_TIME})
endif()
")

# Packages would tell the umask (before CMake 3.19 they do).
set(CPACK_PRE_BUILD_SCRIPTS ${debian}/staged.cmake)
set(CPACK_POST_BUILD_SCRIPTS ${debian}/packed.cmake)

set(CPACK_DEBIAN_VMM_PACKAGE_NAME vmm)
set(CPACK_DEBIAN_VMM_PACKAGE_SECTION admin)
set(CPACK_DEBIAN_VMM_PACKAGE_SHLIBDEPS ON)
# Loaded when they are needed, or run.
set(nettle "libnettle8 | libnettle8t64")
if(IMAGES_nettle_VERSION VERSION_GREATER_EQUAL 4)
	set(nettle libnettle9)
endif()
set(CPACK_DEBIAN_VMM_PACKAGE_DEPENDS zlib1g)
set(CPACK_DEBIAN_VMM_PACKAGE_RECOMMENDS "passt, libzstd1, liblz4-1, liblzma5, libarchive13 | libarchive13t64, libjansson4, ${nettle}, squashfs-tools (>= 1:4.5)")
set(CPACK_DEBIAN_VMM_PACKAGE_SUGGESTS "libvmm-dev, qemu-utils")
set(CPACK_COMPONENT_VMM_DESCRIPTION "boot a Linux kernel in a virtual machine on KVM
A small computer out of /dev/kvm, guest memory and a few devices, for
throwaway test machines from a shell or a CI job: it boots the kernel that
is there already, with a serial console, virtio disks and network cards,
or runs one command in a fresh machine and ends with its status.
.
There is no daemon, configuration or firmware, and no root rights are
needed. Network cards without any rights come from passt.")

set(libraries libfdt-dev zlib1g-dev)
if(VMM_HAVE_URING_FOUND)
	list(APPEND libraries liburing-dev)
endif()
string(REPLACE ";" ", " libraries "${libraries}")
set(CPACK_DEBIAN_LIBVMM-DEV_PACKAGE_NAME libvmm-dev)
set(CPACK_DEBIAN_LIBVMM-DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_LIBVMM-DEV_PACKAGE_DEPENDS "libc6-dev, ${libraries}")
set(CPACK_COMPONENT_LIBVMM-DEV_DESCRIPTION "virtual machines on KVM inside a program - development files
Libvmm makes and runs small virtual machines on KVM in the calling process,
several at once if need be. This package has its header and the static
library; it is what the program vmm is made of.")

include(CPack)
cpack_add_component_group(vmm)
cpack_add_component_group(libvmm-dev)
cpack_add_component(program GROUP vmm)
cpack_add_component(debian_vmm GROUP vmm)
cpack_add_component(development GROUP libvmm-dev)
cpack_add_component(debian_libvmm-dev GROUP libvmm-dev)
