package dashboards

var deadLetters = Board{
	UID: "revstream-dlq", Title: "revstream: dead letters",
	Description: "What could not become a row, why, and what was decided.",
	Rows: []Row{
		{"Now", []Panel{
			{"Open", "Dead letters that nobody has decided on.", "short", stat, []Series{
				{`sum(revstream_dlq_letters{state="open"})`, ""},
			}},
			{"Parked", "Set aside until they are unparked.", "short", stat, []Series{
				{`sum(revstream_dlq_letters{state="parked"})`, ""},
			}},
			{"Stopped partitions", "Partitions whose consumer the cap of poison has stopped.", "none", stat, []Series{
				{"sum(revstream_dlq_stopped_partitions) or vector(0)", ""},
			}},
		}},
		{"Letters", []Panel{
			{"Open, by reason", "They expire 30 days after they failed.", "short", graph, []Series{
				{`sum by (topic, reason) (revstream_dlq_letters{state="open"}) > 0`, "{{topic}}: {{reason}}"},
			}},
			{"By state", "What was decided.", "short", graph, []Series{
				{"sum by (state) (revstream_dlq_letters)", "{{state}}"},
			}},
			{"More than an hour ago", "Open letters, against an hour before.", "short", graph, []Series{
				{`sum by (topic) (revstream_dlq_letters{state="open"}) - sum by (topic) (revstream_dlq_letters{state="open"} offset 1h)`, "{{topic}}"},
			}},
		}},
		{"Where they come from", []Panel{
			{"Dead-lettered by consumers", "By stage and reason.", "ops", graph, []Series{
				{"sum by (topic, stage, reason) (rate(revstream_consume_poison_total[$__rate_interval]))", "{{topic}} {{stage}}: {{reason}}"},
			}},
			{"Dead-lettered by producers", "Records of a source as they came.", "ops", graph, []Series{
				{"sum by (topic) (rate(revstream_publish_rejections_total[$__rate_interval]))", "{{topic}}"},
			}},
			{"Stopped consumers", "By group and topic.", "none", graph, []Series{
				{"sum by (group, topic) (revstream_dlq_stopped_partitions)", "{{group}} {{topic}}"},
			}},
		}},
	},
}
