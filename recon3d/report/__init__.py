"""What a person looks at: pictures and case reports; every module is imported by name."""
