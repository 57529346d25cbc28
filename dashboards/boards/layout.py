"""A dashboard as rows of panels, from left to right, and its JSON."""

from dataclasses import dataclass, field

# Grafana's grid.
COLUMNS = 24

# As in deploy/grafana/provisioning/datasources. A later source of panels (the tables, by SQL) is one more of these.
PROMETHEUS = {"type": "prometheus", "uid": "weir-prometheus"}


@dataclass
class Row:
    """A title, and under it panels of one height."""

    title: str
    height: int
    panels: list


@dataclass
class Board:
    """A dashboard. Its uid is the name of its file and its address."""

    uid: str
    title: str
    description: str
    variables: list
    rows: list = field(default_factory=list)

    def built(self, boards):
        """The JSON that Grafana reads; `boards` are uid and title of all, for the links between them."""
        return {
            "uid": self.uid,
            "title": self.title,
            "description": self.description,
            "tags": ["weir"],
            "timezone": "browser",
            "schemaVersion": 39,
            "version": 1,
            "refresh": "10s",
            "editable": False,
            "graphTooltip": 1,
            "time": {"from": "now-1h", "to": "now"},
            "links": [link(uid, title) for uid, title in boards if uid != self.uid],
            "templating": {"list": self.variables},
            "panels": list(self.placed()),
        }

    def placed(self):
        """The panels with their places and ids, each row below the one before."""
        top, number = 0, 0
        for row in self.rows:
            number += 1
            yield heading(number, row.title, top)
            top, left = top + 1, 0
            for width, panel in row.panels:
                if left + width > COLUMNS:
                    top, left = top + row.height, 0
                number += 1
                place = {"x": left, "y": top, "w": width, "h": row.height}
                yield {"id": number, **panel, "gridPos": place}
                left += width
            top += row.height


def heading(number, title, top):
    place = {"x": 0, "y": top, "w": COLUMNS, "h": 1}
    return {"id": number, "type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": place}


def link(uid, title):
    """A link at the top of a dashboard; takes time and variables along."""
    return {
        "type": "link",
        "title": title,
        "url": f"/d/{uid}",
        "icon": "dashboard",
        "tooltip": "",
        "keepTime": True,
        "includeVars": True,
        "asDropdown": False,
        "targetBlank": False,
        "tags": [],
    }


def variable(name, label, query):
    """A variable with all values of a label; the query is `label_values(series, label)`."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": PROMETHEUS,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "sort": 1,
    }


# Every board has it: which processes.
STAGE = variable("stage", "Stage", 'label_values(up{job="weir"}, stage)')
