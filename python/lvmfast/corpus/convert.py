def convert_payload(a,b): pass
