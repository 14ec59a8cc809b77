"""Reports: what was measured of a bundle on a device, gathered into one record and shown as a page, text or JSON."""
