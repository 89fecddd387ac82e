"""The dashboard: pages in plain HTML that answer what runs do, why they wait, what they made."""
