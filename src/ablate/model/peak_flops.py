"""The peak rate of a device's products, by its name."""

import re

# Dense bf16 products, operations per second, from NVIDIA's data sheets. H100: the SXM module; PCIe and NVL are slower.
PEAK_FLOPS = {"A100": 312e12, "H100": 989e12, "H200": 989e12, "B200": 2250e12}
_SLOWER = re.compile(r"H100.*(PCIe|NVL)|H200.*NVL", re.IGNORECASE)


def peak_flops(device_name: str, precision: str) -> float | None:
    """Return the peak rate of a device by its name as torch tells it; None if unknown, and for products in fp32."""
    if precision != "bf16" or _SLOWER.search(device_name):
        return None
    return next((peak for name, peak in PEAK_FLOPS.items() if re.search(rf"\b{name}\b", device_name)), None)
