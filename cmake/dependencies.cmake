# Libraries that libvmm uses beside libc, as the target vmm_dependencies, and as VMM_LIBS for those who link libvmm.a by hand.
# libfdt and zlib must be there; the others each serve one thing and are on when pkg-config finds them.
# The program takes them in (their static archives) where it can: each shared library costs it about 80 microseconds and some
# tens of kilobytes at every start. Those that few guests need are loaded when they are needed.
option(VMM_SHARED_LIBS "Use shared libraries for all but what has no other" OFF)
add_library(vmm_dependencies INTERFACE)
# Not Threads::Threads, which another project that takes this one in does not see.
target_compile_options(vmm_dependencies INTERFACE -pthread)
target_link_libraries(vmm_dependencies INTERFACE -pthread)
set(VMM_LIBS "-pthread")
set(VMM_SUMMARY "")

# Sets ${out} to what the linker is given for -l${name}.
function(vmm_link_name name out)
	unset(archive CACHE)
	if(NOT VMM_SHARED_LIBS)
		find_library(archive lib${name}.a)
	endif()
	if(archive)
		set(${out} ${archive} PARENT_SCOPE)
	else()
		set(${out} -l${name} PARENT_SCOPE)
	endif()
	unset(archive CACHE)
endfunction()

# vmm_use_library(NAME HEADER [LATE]) - one that must be there; Debian's libfdt has no pkg-config file, so none is asked for.
# LATE: as with vmm_try_library().
function(vmm_use_library name header)
	set(late "${ARGN}")
	find_path(${name}_INCLUDE ${header})
	find_library(${name}_LIBRARY ${name})
	if(NOT ${name}_INCLUDE OR NOT ${name}_LIBRARY)
		message(FATAL_ERROR "vmm needs lib${name} and its header ${header} (Debian: libfdt-dev, zlib1g-dev)")
	endif()
	target_include_directories(vmm_dependencies INTERFACE ${${name}_INCLUDE})
	if(late AND NOT VMM_STATIC)
		target_compile_definitions(vmm_dependencies INTERFACE ${late}=1)
		target_link_libraries(vmm_dependencies INTERFACE ${CMAKE_DL_LIBS})
		set(VMM_LIBS "${VMM_LIBS} -ldl" PARENT_SCOPE)
		return()
	endif()
	vmm_link_name(${name} link)
	target_link_libraries(vmm_dependencies INTERFACE ${link})
	set(VMM_LIBS "${VMM_LIBS} -l${name}" PARENT_SCOPE)
endfunction()

# vmm_try_library(MODULE MACRO COST) - one that serves a single thing; COST says what is missing without it. With a fourth
# argument, a macro too, it is loaded when it is first needed (see vmm/core/late_library.h), and a part of static programs alone.
function(vmm_try_library module macro cost)
	set(late "${ARGN}")
	set(summary "${module}: off (${cost})")
	if(PkgConfig_FOUND)
		pkg_check_modules(${macro} QUIET ${module})
	endif()
	if(${macro}_FOUND)
		# Not pkg-config's imported target, which is the shared library even for a static program.
		target_include_directories(vmm_dependencies INTERFACE ${${macro}_INCLUDE_DIRS})
		target_link_directories(vmm_dependencies INTERFACE ${${macro}_LIBRARY_DIRS})
		if(late AND NOT VMM_STATIC)
			target_compile_definitions(vmm_dependencies INTERFACE ${late}=1)
			target_link_libraries(vmm_dependencies INTERFACE ${CMAKE_DL_LIBS})
			if(NOT VMM_LIBS MATCHES "-ldl")
				set(VMM_LIBS "${VMM_LIBS} -ldl" PARENT_SCOPE)
			endif()
		else()
			foreach(name ${${macro}_LIBRARIES})
				vmm_link_name(${name} link)
				target_link_libraries(vmm_dependencies INTERFACE ${link})
			endforeach()
			string(REPLACE ";" " -l" names "${${macro}_LIBRARIES}")
			set(VMM_LIBS "${VMM_LIBS} -l${names}" PARENT_SCOPE)
		endif()
		target_compile_definitions(vmm_dependencies INTERFACE ${macro}=1)
		set(summary "${module}: on")
	endif()
	set(VMM_SUMMARY "${VMM_SUMMARY}\n     ${summary}" PARENT_SCOPE)
endfunction()

find_package(PkgConfig QUIET)
vmm_use_library(fdt libfdt.h)
vmm_use_library(z zlib.h VMM_LATE_ZLIB)
vmm_try_library(liburing VMM_HAVE_URING "disks use threads instead of io_uring")
vmm_try_library(libzstd VMM_HAVE_ZSTD "no zstd-compressed qcow2 clusters; kernels packed with zstd unpack themselves, slower"
	VMM_LATE_ZSTD)
vmm_try_library(liblz4 VMM_HAVE_LZ4 "kernels packed with lz4 unpack themselves, slower" VMM_LATE_LZ4)
vmm_try_library(liblzma VMM_HAVE_LZMA "kernels packed with xz or lzma unpack themselves, slower" VMM_LATE_LZMA)

# Container images as roots take three together, of the program alone (vmm/image), which loads them when it unpacks one. A static program
# cannot, and they would bring in more than all the rest of it.
set(VMM_HAVE_IMAGES OFF)
if(PkgConfig_FOUND AND NOT VMM_STATIC)
	# vmm/image/image_libs.c knows the names of nettle 3 and 4.
	pkg_check_modules(IMAGES QUIET libarchive jansson nettle<5)
	set(VMM_HAVE_IMAGES ${IMAGES_FOUND})
endif()
if(VMM_HAVE_IMAGES)
	set(VMM_SUMMARY "${VMM_SUMMARY}\n     container images: on")
else()
	set(VMM_SUMMARY "${VMM_SUMMARY}\n     container images: off (they need libarchive, jansson and nettle 3 or 4, and a program that is not static)")
endif()
