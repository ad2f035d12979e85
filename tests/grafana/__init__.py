"""The dashboards without a Grafana: their queries, run by a Prometheus, and their pictures, drawn
by Grafana's own components in Chromium.

python -m tests.grafana record --prometheus URL --out FILE.json.gz --job NAMESPACE/NAME
python -m tests.grafana draw FILE.json.gz --into FOLDER
"""
