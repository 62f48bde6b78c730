# SPDX-License-Identifier: BSD-3-Clause
"""Which driver a PCI function has, and giving it to vfio-pci and back."""
