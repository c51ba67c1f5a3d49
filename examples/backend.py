"""A backend in a few lines: an agent says something to its person, who reads it in every tab. `python3 backend.py`"""

import json
import os
import urllib.request

url = os.environ.get("ANTIPHON_URL", "http://127.0.0.1:3000")
headers = {
    "Authorization": "Bearer " + os.environ.get("ANTIPHON_SERVICE_KEY", "your-service-key"),
    "Content-Type": "application/json",
    # Sent again under this name, the request has no second effect.
    "Idempotency-Key": "order-4711-shipped",
}
command = {"command": "Speak", "agent": "agent-123", "person": "user-123", "text": "Your order has been shipped."}
request = urllib.request.Request(url + "/v1/commands", json.dumps(command).encode(), headers)
print(urllib.request.urlopen(request).read().decode())
