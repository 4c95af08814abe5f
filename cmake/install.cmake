# What `cmake --install` puts where: GNUInstallDirs' variables choose the folders, DESTDIR and --prefix the root. A
# component is what a package may want alone.

# Folders for everybody, whatever the umask, but as they are where they are there.
function(vmm_folders component)
	install(CODE "set(folders \"${ARGN}\")" COMPONENT ${component})
	install(SCRIPT ${PROJECT_SOURCE_DIR}/cmake/folders.cmake COMPONENT ${component})
endfunction()
set(data ${CMAKE_INSTALL_DATADIR})
set(VMM_SYSTEMD_DIR lib/systemd/system CACHE STRING "Where systemd's units go: below the prefix, or absolute")
vmm_folders(program ${CMAKE_INSTALL_BINDIR} ${data}/bash-completion/completions ${data}/zsh/site-functions
	${data}/fish/vendor_completions.d ${CMAKE_INSTALL_DOCDIR}/docs ${VMM_SYSTEMD_DIR})
vmm_folders(plain ${CMAKE_INSTALL_MANDIR}/man1 ${CMAKE_INSTALL_DOCDIR} ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
vmm_folders(development ${CMAKE_INSTALL_INCLUDEDIR}/vmm)

install(TARGETS vmm RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
# Where each shell looks by itself, below /usr or /usr/local.
install(FILES vmm/cli/completions/vmm.bash DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME vmm COMPONENT program)
install(FILES vmm/cli/completions/_vmm DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions COMPONENT program)
install(FILES vmm/cli/completions/vmm.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT program)

# README.md names the others by their place beside it.
file(GLOB guides docs/*.md)
install(FILES README.md SECURITY.md DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT program)
install(FILES ${guides} DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs COMPONENT program)
# Packages have their own forms of what is plain.
install(FILES docs/vmm.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT plain)
install(FILES LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR} COMPONENT plain)

install(TARGETS libvmm ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT plain)
install(FILES vmm/api/vmm.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/vmm COMPONENT development)
# vmm_pc(PREFIX LIBDIR INCLUDEDIR PLACE OUTPUT) - its folders are named from its own place, so that an installed tree may be moved, or
# lie in a DESTDIR
function(vmm_pc prefix libdir includedir place output)
	file(RELATIVE_PATH VMM_PC_PREFIX ${place} ${prefix})
	file(RELATIVE_PATH VMM_PC_LIBDIR ${place} ${libdir})
	file(RELATIVE_PATH VMM_PC_INCLUDEDIR ${place} ${includedir})
	configure_file(${PROJECT_SOURCE_DIR}/vmm/api/vmm.pc.in ${output} @ONLY)
endfunction()
set(pc ${PROJECT_BINARY_DIR}/packaging/installed/vmm.pc)
get_filename_component(prefix "${CMAKE_INSTALL_PREFIX}/" ABSOLUTE) # it may be empty
vmm_pc(${prefix} ${CMAKE_INSTALL_FULL_LIBDIR} ${CMAKE_INSTALL_FULL_INCLUDEDIR} ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${pc})
# for those who use the library where it was built
set(lib ${CMAKE_ARCHIVE_OUTPUT_DIRECTORY})
vmm_pc(${PROJECT_BINARY_DIR} ${lib} ${PROJECT_BINARY_DIR}/include ${lib} ${lib}/vmm.pc)
install(FILES ${pc} DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT plain)

# systemd finds programs by name in the usual folders, so that the unit holds wherever a package puts it.
set(VMM_UNIT_PROGRAM vmm)
if(NOT CMAKE_INSTALL_FULL_BINDIR MATCHES "^/usr(/local)?/bin$")
	set(VMM_UNIT_PROGRAM ${CMAKE_INSTALL_FULL_BINDIR}/vmm)
endif()
configure_file(packaging/systemd/vmm@.service.in ${PROJECT_BINARY_DIR}/packaging/vmm@.service @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/packaging/vmm@.service DESTINATION ${VMM_SYSTEMD_DIR} COMPONENT program)
