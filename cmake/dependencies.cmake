# Libraries that libvmm uses beside libc, as the target vmm_dependencies, and as VMM_LIBS for those who link libvmm.a by hand.
# libfdt and zlib must be there; the others each serve one thing and are on when pkg-config finds them.
add_library(vmm_dependencies INTERFACE)
target_link_libraries(vmm_dependencies INTERFACE Threads::Threads)
set(VMM_LIBS "-pthread")
set(VMM_SUMMARY "")

# vmm_use_library(NAME HEADER) - one that must be there; Debian's libfdt has no pkg-config file, so none is asked for
function(vmm_use_library name header)
	find_path(${name}_INCLUDE ${header})
	find_library(${name}_LIBRARY ${name})
	if(NOT ${name}_INCLUDE OR NOT ${name}_LIBRARY)
		message(FATAL_ERROR "vmm needs lib${name} and its header ${header} (Debian: libfdt-dev, zlib1g-dev)")
	endif()
	target_include_directories(vmm_dependencies INTERFACE ${${name}_INCLUDE})
	target_link_libraries(vmm_dependencies INTERFACE -l${name})
	set(VMM_LIBS "${VMM_LIBS} -l${name}" PARENT_SCOPE)
endfunction()

# vmm_try_library(MODULE MACRO COST) - one that serves a single thing; COST says what is missing without it
function(vmm_try_library module macro cost)
	set(summary "${module}: off (${cost})")
	if(PkgConfig_FOUND)
		pkg_check_modules(${macro} QUIET ${module})
	endif()
	if(${macro}_FOUND)
		# By name and not by path, which would be that of the shared library even for a static program.
		target_include_directories(vmm_dependencies INTERFACE ${${macro}_INCLUDE_DIRS})
		target_link_directories(vmm_dependencies INTERFACE ${${macro}_LIBRARY_DIRS})
		target_link_libraries(vmm_dependencies INTERFACE ${${macro}_LIBRARIES})
		target_compile_definitions(vmm_dependencies INTERFACE ${macro}=1)
		string(REPLACE ";" " -l" names "${${macro}_LIBRARIES}")
		set(VMM_LIBS "${VMM_LIBS} -l${names}" PARENT_SCOPE)
		set(summary "${module}: on")
	endif()
	set(VMM_SUMMARY "${VMM_SUMMARY}\n     ${summary}" PARENT_SCOPE)
endfunction()

find_package(PkgConfig QUIET)
vmm_use_library(fdt libfdt.h)
vmm_use_library(z zlib.h)
vmm_try_library(liburing VMM_HAVE_URING "disks use threads instead of io_uring")
vmm_try_library(libzstd VMM_HAVE_ZSTD "no zstd-compressed qcow2 clusters")
