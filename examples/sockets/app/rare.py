"""Says hello to whoever connects, and ends when nobody has for ten seconds: init
starts it again with the next connection."""

from listen import sockets

listener = sockets()["rare"]
listener.settimeout(10)
while True:
    try:
        connection, _ = listener.accept()
    except TimeoutError:
        break
    with connection:
        connection.sendall(b"hello\n")
