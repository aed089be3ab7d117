dnl SPDX-License-Identifier: MIT
dnl libtool versions, CURRENT:REVISION:AGE, one a library. At each release:
dnl  1. the code changed, no interface did:     REVISION + 1
dnl  2. interfaces were added, none removed:    CURRENT + 1, REVISION = 0, AGE + 1
dnl  3. an interface was removed or changed:    CURRENT + 1, REVISION = 0, AGE = 0
AC_SUBST([VMBUS_LT_VERSION], [0:0:0])
AC_SUBST([VHD_LT_VERSION], [0:0:0])
AC_SUBST([VSP_STORAGE_LT_VERSION], [0:0:0])
AC_SUBST([VSP_NET_LT_VERSION], [0:0:0])
AC_SUBST([VMBUS_SHM_LT_VERSION], [0:0:0])
AC_SUBST([VMBUS_KVM_LT_VERSION], [0:0:0])
